// Connections to one server, and looks at it.
#include "adapters/redis/server.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "adapters/redis/errors.h"
#include "adapters/redis/slots.h"

namespace once::redis {
namespace {

constexpr std::chrono::milliseconds kFirstPause(20);
constexpr std::chrono::milliseconds kLongestPause(500);
// So many nodes of a cluster may hang, and there is still time for another one.
constexpr int kTriesPerCall = 4;

// The second of a CONFIG GET's two; empty where there is no such setting.
std::string_view SettingOf(const Reply& reply) {
  return reply.elements.size() == 2 ? std::string_view(reply.elements[1].text) : "";
}

// nullopt: its slot is elsewhere.
absl::StatusOr<std::optional<std::uint64_t>> WitnessIn(const Reply& reply) {
  std::optional<std::uint64_t> witness;
  if (reply.is_error() && ParseRedirection(reply.text)) return witness;
  if (reply.is_error()) return ErrorStatus(reply.text, /*is_opening=*/true);
  if (!absl::SimpleAtoi(reply.text, &witness.emplace())) witness = 0;
  return witness;
}

absl::Status CheckReadable(std::span<const Reply> settings) {
  for (const Reply& setting : settings) {
    if (!setting.is_error()) continue;
    return absl::Status(
        ErrorStatus(setting.text, /*is_opening=*/true).code(),
        absl::StrCat("redis: CONFIG GET appendfsync is refused (", setting.text,
                     "); allow it, or say in StoreOptions::appendfsync what the server has"));
  }
  return absl::OkStatus();
}

// A server does not change its kind while it is the store's.
absl::Status CheckKind(const ServerFacts& facts, bool is_cluster) {
  if (facts.is_cluster == is_cluster) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(
      "redis: the server is ", is_cluster ? "no" : "now a",
      " node of a cluster, unlike the one that the store was opened in; open it again"));
}

}  // namespace

std::string Encode(std::initializer_list<std::string_view> words) {
  return EncodeCommand(std::span(words.begin(), words.size()));
}

Deadline Access::CallDeadline() const {
  return std::chrono::steady_clock::now() + absl::ToChronoMicroseconds(options.call_timeout);
}

Deadline Access::TryDeadline(Deadline deadline) const {
  if (!is_cluster) return deadline;
  const auto patience = absl::ToChronoMicroseconds(options.call_timeout) / kTriesPerCall;
  return std::min(deadline, std::chrono::steady_clock::now() + patience);
}

Server::Server(const Access& access, ServerAddress address, std::string witness_stem)
    : access_(access),
      witness_stem_(std::move(witness_stem)),
      watch_(witness_stem_),
      address_(std::move(address)) {}

absl::StatusOr<bool> Server::IsNode(Deadline deadline) {
  const auto connection = Connect(deadline);
  if (!connection.ok()) return connection.status();
  const std::string command = Encode({"INFO"});
  const auto replies = (*connection)->Run({&command, 1}, deadline);
  if (!replies.ok()) return absl::UnavailableError(replies.status().message());
  if (replies->front().is_error()) {
    return ErrorStatus(replies->front().text, /*is_opening=*/true);
  }
  const absl::StatusOr<ServerFacts> facts = ParseInfo(replies->front().text);
  if (!facts.ok()) return facts.status();
  return facts->is_cluster;
}

absl::Status Server::Begin(Deadline deadline) {
  auto connection = Connect(deadline);
  if (!connection.ok()) return connection.status();
  const absl::StatusOr<Look> look = ReadFacts(**connection, watch_.BeginLook().tag, deadline);
  if (!look.ok()) return look.status();
  absl::Status policy = CheckPolicy(look->facts, access_.options.accept_eviction);
  if (!policy.ok()) return policy;
  watch_.Begin(look->facts);
  {
    const std::lock_guard lock(mutex_);
    ++connections_;
    last_inspection_ = std::chrono::steady_clock::now();
  }
  GiveBack({.connection = *std::move(connection), .generation = watch_.generation()});
  return absl::OkStatus();
}

ServerAddress Server::address() const {
  const std::lock_guard lock(mutex_);
  return address_;
}

void Server::MoveTo(ServerAddress address) {
  const std::lock_guard lock(mutex_);
  address_ = std::move(address);
}

void Server::Succeed(Server& former) {
  const std::lock_guard lock(mutex_);
  if (std::find(formers_.begin(), formers_.end(), &former) != formers_.end()) return;
  formers_.push_back(&former);
  last_inspection_.reset();
}

// ---- Looks ----

absl::StatusOr<std::unique_ptr<Connection>> Server::Connect(Deadline deadline) const {
  const ServerAddress address = this->address();
  auto pause = kFirstPause;
  while (true) {
    auto connection = Connection::Open(address, access_.tls.get(), deadline);
    if (connection.ok() || !absl::IsUnavailable(connection.status())) return connection;
    // The owner of its slots may be another one by now.
    if (access_.is_cluster) {
      return absl::UnavailableError(
          absl::StrCat(connection.status().message(),
                       "; a master of the cluster: start it, or promote its replica (CLUSTER "
                       "FAILOVER TAKEOVER)"));
    }
    if (std::chrono::steady_clock::now() + pause >= deadline) return connection;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
}

std::string Server::ReadWitness(const std::string& tag) const {
  return Encode(
      {"GETEX", access_.keys.OfWitness(tag, access_.incarnation), "PX", kWitnessMilliseconds});
}

absl::StatusOr<Server::Look> Server::ReadFacts(Connection& connection,
                                               const std::string& witness_tag,
                                               Deadline deadline) const {
  std::vector<std::string> commands = {Encode({"INFO"}), ReadWitness(witness_tag)};
  const std::optional<AppendFsync> told = access_.options.appendfsync;
  if (!told) {
    commands.push_back(Encode({"CONFIG", "GET", "appendfsync"}));
    commands.push_back(Encode({"CONFIG", "GET", "no-appendfsync-on-rewrite"}));
  }
  const auto replies = connection.Run(commands, deadline);
  if (!replies.ok()) return absl::UnavailableError(replies.status().message());
  const Reply& info = replies->front();
  if (info.is_error()) return ErrorStatus(info.text, /*is_opening=*/true);
  absl::StatusOr<ServerFacts> facts = ParseInfo(info.text);
  if (!facts.ok()) return facts.status();
  // First: of a server that does not serve the rest means nothing.
  if (absl::Status serves = CheckServes(*facts); !serves.ok()) return serves;
  if (absl::Status kind = CheckKind(*facts, access_.is_cluster); !kind.ok()) return kind;
  const auto witness = WitnessIn((*replies)[1]);
  if (!witness.ok()) return witness.status();
  const auto settings = std::span(*replies).subspan(2);
  if (absl::Status readable = CheckReadable(settings); !readable.ok()) return readable;
  if (told) {
    facts->appendfsync = *told;
    return Look{.facts = *std::move(facts), .witness = *witness};
  }
  const auto appendfsync = ParseAppendFsync(SettingOf(settings[0]));
  if (!appendfsync.ok()) return appendfsync.status();
  facts->appendfsync = *appendfsync;
  facts->skips_sync_on_rewrite = SettingOf(settings[1]) == "yes";
  return Look{.facts = *std::move(facts), .witness = *witness};
}

absl::Status Server::Inspect(Connection& connection, Deadline deadline) {
  struct Former {
    Server* server;
    ServerWatch::Expected expected;
    std::optional<std::uint64_t> witness;
  };
  std::vector<Former> formers;
  {
    const std::lock_guard lock(mutex_);
    for (Server* const each : formers_) formers.push_back({each, each->watch_.BeginLook(), {}});
  }
  const ServerWatch::Expected expected = watch_.BeginLook();
  const absl::StatusOr<Look> look = ReadFacts(connection, expected.tag, deadline);
  if (!look.ok()) return look.status();
  for (auto& [server, left, witness] : formers) {
    const std::string command = ReadWitness(left.tag);
    const auto replies = connection.Run({&command, 1}, deadline);
    if (!replies.ok()) return absl::UnavailableError(replies.status().message());
    const auto found = WitnessIn(replies->front());
    if (!found.ok()) return found.status();
    witness = *found;
  }
  // All or nothing: a promotion is seen by one look only.
  const bool is_promoted = watch_.Observe(look->facts, look->witness, expected);
  for (const auto& [server, left, witness] : formers) {
    server->watch_.ObserveSuccessor(is_promoted, witness, left);
  }
  const std::lock_guard lock(mutex_);
  std::erase_if(formers_, [&formers](const Server* each) {
    return std::any_of(formers.begin(), formers.end(),
                       [&](const Former& former) { return former.server == each; });
  });
  if (formers_.empty()) last_inspection_ = std::chrono::steady_clock::now();
  return absl::OkStatus();
}

bool Server::IsInspectionDue() const {
  const std::lock_guard lock(mutex_);
  return !last_inspection_ || std::chrono::steady_clock::now() - *last_inspection_ >=
                                  absl::ToChronoMicroseconds(access_.options.inspection_interval);
}

// ---- Connections ----

absl::StatusOr<Server::Borrowed> Server::TakeIdle(Deadline deadline) {
  std::unique_lock lock(mutex_);
  while (true) {
    while (!idle_.empty()) {
      Borrowed borrowed = std::move(idle_.back());
      idle_.pop_back();
      const bool is_current = borrowed.generation == watch_.generation();
      if (is_current && borrowed.connection->IsUsable()) return borrowed;
      --connections_;
    }
    if (connections_ < access_.options.connections_max) {
      ++connections_;
      return Borrowed{};
    }
    if (changed_.wait_until(lock, deadline) == std::cv_status::timeout) {
      return absl::UnavailableError(
          absl::StrCat("redis: ", access_.options.connections_max,
                       " calls are under way and none has ended in time; raise connections_max"));
    }
  }
}

absl::StatusOr<Server::Borrowed> Server::Borrow(Deadline deadline) {
  absl::StatusOr<Borrowed> borrowed = TakeIdle(deadline);
  if (!borrowed.ok()) return borrowed.status();
  deadline = access_.TryDeadline(deadline);
  absl::Status usable;
  const bool is_new = borrowed->connection == nullptr;
  if (is_new) {
    auto connection = Connect(deadline);
    usable = connection.status();
    if (usable.ok()) borrowed->connection = *std::move(connection);
  }
  if (usable.ok() && (is_new || IsInspectionDue())) {
    usable = Inspect(*borrowed->connection, deadline);
    borrowed->generation = watch_.generation();
  }
  if (usable.ok()) return borrowed;
  borrowed->connection.reset();
  GiveBack(*std::move(borrowed));
  // A login that is refused now was good when the store was opened.
  const bool is_passing = usable.code() == absl::StatusCode::kPermissionDenied;
  return is_passing ? absl::UnavailableError(usable.message()) : usable;
}

void Server::GiveBack(Borrowed borrowed) {
  const std::lock_guard lock(mutex_);
  if (borrowed.connection != nullptr && borrowed.connection->IsUsable()) {
    idle_.push_back(std::move(borrowed));
  } else {
    --connections_;
  }
  changed_.notify_one();
}

absl::StatusOr<std::vector<Reply>> Server::AskEach(std::span<const std::string> commands) {
  const Deadline deadline = access_.CallDeadline();
  absl::StatusOr<Borrowed> borrowed = Borrow(deadline);
  if (!borrowed.ok()) return borrowed.status();
  auto replies = borrowed->connection->Run(commands, deadline);
  GiveBack(*std::move(borrowed));
  return replies;
}

absl::StatusOr<Reply> Server::Ask(std::initializer_list<std::string_view> command) {
  const std::string bytes = Encode(command);
  auto replies = AskEach({&bytes, 1});
  if (!replies.ok()) return replies.status();
  return std::move(replies->front());
}

}  // namespace once::redis
