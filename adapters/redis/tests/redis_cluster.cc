// Nodes that are started, told their slots, and made to meet.
#include "adapters/redis/tests/redis_cluster.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <random>
#include <set>
#include <stdexcept>
#include <thread>

#include "absl/strings/str_cat.h"

namespace once::redis::testing {
namespace {

constexpr std::chrono::seconds kPatience(40);
constexpr std::chrono::milliseconds kPause(10);
constexpr int kStartTries = 5;
// Below those that connections take for themselves.
constexpr int kFirstPort = 11'000;
constexpr unsigned kPorts = 20'000;
constexpr int kPortTries = 100;

template <typename Condition>
void AwaitThat(const Condition& is_so, const std::string& what) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!is_so()) {
    if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("cluster: " + what);
    std::this_thread::sleep_for(kPause);
  }
}

void Expect(const Reply& reply) {
  if (reply.is_error()) throw std::runtime_error("cluster: " + reply.text);
}

bool Says(const RedisServer& node, std::initializer_list<std::string_view> command,
          std::string_view what) {
  return node.Ask(command).text.find(what) != std::string::npos;
}

}  // namespace

int FindPort() {
  std::random_device random;
  for (int tries = 0; tries < kPortTries; ++tries) {
    const int port = kFirstPort + static_cast<int>(random() % kPorts);
    const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    const bool is_free =
        bind(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    close(probe);
    if (is_free) return port;
  }
  throw std::runtime_error("cluster: no free port");
}

RedisCluster::RedisCluster(ClusterShape shape) : masters_(shape.masters) {
  const int nodes = shape.has_replicas ? 2 * shape.masters : shape.masters;
  for (int number = 0; number < nodes; ++number) StartNode(shape, number);
  Join(shape);
}

void RedisCluster::StartNode(const ClusterShape& shape, int number) {
  // Somebody else may take a port before the server does.
  for (int tries = 1;; ++tries) {
    const int port = FindPort();
    std::vector<std::string> settings = {absl::StrCat("port ", port),
                                         absl::StrCat("cluster-port ", FindPort()),
                                         "bind 127.0.0.1",
                                         "cluster-enabled yes",
                                         "cluster-node-timeout 2000",
                                         "cluster-announce-ip 127.0.0.1",
                                         "repl-diskless-sync-delay 0"};
    settings.insert(settings.end(), shape.settings.begin(), shape.settings.end());
    if (!shape.announced_ports.empty()) {
      settings.push_back(absl::StrCat("cluster-announce-port ",
                                      shape.announced_ports[static_cast<std::size_t>(number)]));
    }
    try {
      nodes_.push_back(std::make_unique<RedisServer>(std::move(settings)));
      ports_.push_back(port);
      ids_.push_back(node(number).Ask({"CLUSTER", "MYID"}).text);
      return;
    } catch (const std::runtime_error&) {
      if (tries == kStartTries) throw;
    }
  }
}

void RedisCluster::Join(const ClusterShape& shape) {
  for (int number = 0; number < masters_; ++number) {
    const int first = kSlots * number / masters_;
    const int last = kSlots * (number + 1) / masters_ - 1;
    Expect(node(number).Ask({"CLUSTER", "ADDSLOTSRANGE", absl::StrCat(first), absl::StrCat(last)}));
    Expect(node(number).Ask({"CLUSTER", "SET-CONFIG-EPOCH", absl::StrCat(number + 1)}));
  }
  for (int number = 1; number < size(); ++number) {
    const std::string bus = node(number).Ask({"CONFIG", "GET", "cluster-port"}).elements[1].text;
    Expect(node(0).Ask({"CLUSTER", "MEET", "127.0.0.1", absl::StrCat(port(number)), bus}));
  }
  const std::string all = absl::StrCat("cluster_known_nodes:", size(), "\r");
  for (int number = 0; number < size(); ++number) {
    AwaitThat([&] { return Says(node(number), {"CLUSTER", "INFO"}, all); }, "nodes do not meet");
  }
  for (int number = masters_; shape.has_replicas && number < size(); ++number) {
    const std::string& master = id(number - masters_);
    AwaitThat(
        [&] {
          return !node(number).Ask({"CLUSTER", "REPLICATE", master}).is_error();
        },
        "no replica");
    AwaitThat([&] { return Says(node(number), {"INFO"}, "master_link_status:up"); },
              "a replica does not hear");
  }
  for (int number = 0; number < size(); ++number) AwaitState(number, "ok");
}

void RedisCluster::AwaitState(int number, const char* state) {
  const std::string line = absl::StrCat("cluster_state:", state);
  AwaitThat(
      [&] {
        return Says(node(number), {"CLUSTER", "INFO"}, line);
      },
      absl::StrCat("is not ", state));
}

std::string RedisCluster::url(int number) const {
  return absl::StrCat("redis://127.0.0.1:", port(number));
}

int RedisCluster::FirstOwnerOf(std::string_view key) const {
  int number = 0;
  while (SlotOf(key) >= kSlots * (number + 1) / masters_) ++number;
  return number;
}

void RedisCluster::BeginMove(int slot, int from, int to) {
  const std::string number = absl::StrCat(slot);
  Expect(node(to).Ask({"CLUSTER", "SETSLOT", number, "IMPORTING", id(from)}));
  Expect(node(from).Ask({"CLUSTER", "SETSLOT", number, "MIGRATING", id(to)}));
}

bool RedisCluster::MoveKey(int slot, int from, int to) {
  const Reply keys = node(from).Ask({"CLUSTER", "GETKEYSINSLOT", absl::StrCat(slot), "1"});
  Expect(keys);
  if (keys.elements.empty()) return false;
  Expect(node(from).Ask(
      {"MIGRATE", "127.0.0.1", absl::StrCat(port(to)), keys.elements[0].text, "0", "10000"}));
  return true;
}

void RedisCluster::EndMove(int slot, int to) {
  const std::string number = absl::StrCat(slot);
  Expect(node(to).Ask({"CLUSTER", "SETSLOT", number, "NODE", id(to)}));
  AwaitThat(
      [&] {
        bool do_all_agree = true;
        for (int each = 0; each < masters_; ++each) {
          if (OwnerAt(each, slot) == id(to)) continue;
          do_all_agree = false;
          Expect(node(each).Ask({"CLUSTER", "SETSLOT", number, "NODE", id(to)}));
        }
        return do_all_agree && AreAllOfOneEpoch();
      },
      "the nodes do not agree on a slot");
}

// Nodes believe whoever has the newest epoch. Who takes a slot counts on from the newest that it
// has heard of: had it not heard of all, what is still on its way from an owner before it would be
// believed again.
bool RedisCluster::AreAllOfOneEpoch() const {
  constexpr std::string_view kName = "cluster_current_epoch:";
  std::set<std::string> epochs;
  for (int number = 0; number < masters_; ++number) {
    const std::string info = node(number).Ask({"CLUSTER", "INFO"}).text;
    const std::size_t begin = info.find(kName);
    if (begin == std::string::npos) return false;
    epochs.insert(info.substr(begin, info.find('\r', begin) - begin));
  }
  return epochs.size() == 1;
}

std::string RedisCluster::OwnerAt(int number, int slot) const {
  const auto ranges = ParseSlots(node(number).Ask({"CLUSTER", "SLOTS"}));
  if (!ranges.ok()) return "";
  for (const SlotRange& range : *ranges) {
    if (range.first <= slot && slot <= range.last) return range.master_id;
  }
  return "";
}

void RedisCluster::GiveSlots(int from, int to) {
  const std::string first = absl::StrCat(kSlots * from / masters_);
  const std::string last = absl::StrCat(kSlots * (from + 1) / masters_ - 1);
  node(to).Ask({"CLUSTER", "BUMPEPOCH"});
  AwaitThat(
      [&] {
        // What a node has heard meanwhile undoes this.
        for (const auto& each : nodes_) each->Ask({"CLUSTER", "DELSLOTSRANGE", first, last});
        return !node(to).Ask({"CLUSTER", "ADDSLOTSRANGE", first, last}).is_error();
      },
      "slots are not given");
  for (int number = 0; number < size(); ++number) {
    AwaitThat(
        [&] {
          return Says(node(number), {"CLUSTER", "INFO"}, "cluster_slots_assigned:16384");
        },
        "nobody hears of it");
    AwaitState(number, "ok");
  }
}

RedisCluster& SharedCluster() {
  static RedisCluster cluster;
  return cluster;
}

}  // namespace once::redis::testing
