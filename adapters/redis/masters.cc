// Nodes asked for their map, and what a new one means.
#include "adapters/redis/masters.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <set>
#include <thread>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::redis {
namespace {

constexpr std::chrono::milliseconds kPause(100);

std::uint64_t DrawIncarnation() {
  std::random_device random;
  std::uint64_t drawn = 0;
  while (drawn == 0) drawn = (static_cast<std::uint64_t>(random()) << 32) | random();
  return drawn;
}

bool IsSamePlace(const ServerAddress& left, const ServerAddress& right) {
  return left.host == right.host && left.port == right.port &&
         left.socket_path == right.socket_path;
}

// The node that `asked` calls `place`, spoken to as `asked` is.
ServerAddress AddressOf(const NodePlace& place, const ServerAddress& asked) {
  ServerAddress address = asked;
  // A node that does not know its own name is where it was asked.
  if (place.host.empty() && !asked.socket_path.empty()) return address;
  address.socket_path.clear();
  if (!place.host.empty()) address.host = place.host;
  address.port = place.port;
  return address;
}

}  // namespace

Masters::Masters(const StoreOptions& options, KeyNames keys, ServerAddress seed)
    : access_{.options = options,
              .keys = std::move(keys),
              .incarnation = DrawIncarnation(),
              .tls = nullptr},
      seed_(std::move(seed)),
      map_(std::make_shared<Map>()) {}

// ---- Opening ----

absl::Status Masters::LoadTls() {
  if (!seed_.is_tls) return absl::OkStatus();
  const StoreOptions& options = access_.options;
  auto tls = TlsContext::Create({.ca_file = options.tls_ca_file,
                                 .certificate_file = options.tls_certificate_file,
                                 .key_file = options.tls_key_file,
                                 .is_verified = options.is_tls_verified});
  if (!tls.ok()) return tls.status();
  access_.tls = *std::move(tls);
  return absl::OkStatus();
}

absl::Status Masters::Meet(Deadline deadline) {
  if (absl::Status loaded = LoadTls(); !loaded.ok()) return loaded;
  auto server = std::make_unique<Server>(access_, seed_, std::string(kWitnessTag));
  const absl::StatusOr<bool> is_node = server->IsNode(deadline);
  if (!is_node.ok()) return is_node.status();
  if (*is_node) {
    access_.is_cluster = true;
    return MeetCluster(deadline);
  }
  if (absl::Status begun = server->Begin(deadline); !begun.ok()) return begun;
  auto map = std::make_shared<Map>();
  map->owners.fill(server.get());
  const std::lock_guard lock(mutex_);
  members_.push_back({.id = {}, .server = std::move(server)});
  map_ = std::move(map);
  return absl::OkStatus();
}

absl::Status Masters::MeetCluster(Deadline deadline) {
  while (true) {
    absl::Status met;
    const auto ranges = AskForSlots(seed_, deadline);
    met = ranges.ok() ? Apply(*ranges, seed_) : ranges.status();
    const std::vector<Server*> owning = Owning();
    if (met.ok() && owning.empty()) {
      met = absl::UnavailableError(
          absl::StrCat("redis: ", seed_.Describe(),
                       " is a node of a cluster in which no master has any slots; create it first "
                       "(redis-cli --cluster create)"));
    }
    for (Server* const server : owning) {
      if (!met.ok() || server->watch().has_begun()) continue;
      const std::string what = absl::StrCat("redis: ", server->address().Describe());
      met = Annotate(server->Begin(access_.TryDeadline(deadline)), what);
    }
    // It may be failing over.
    if (met.ok() || !absl::IsUnavailable(met)) return met;
    if (std::chrono::steady_clock::now() + kPause >= deadline) return met;
    std::this_thread::sleep_for(kPause);
  }
}

// ---- The map ----

std::shared_ptr<const Masters::Map> Masters::map() const {
  const std::lock_guard lock(mutex_);
  return map_;
}

std::vector<Server*> Masters::All() const {
  const std::lock_guard lock(mutex_);
  std::vector<Server*> all;
  for (const Member& member : members_) all.push_back(member.server.get());
  return all;
}

std::vector<Server*> Masters::Owning() const {
  const auto map = this->map();
  const std::set<Server*> owning(map->owners.begin(), map->owners.end());
  std::vector<Server*> servers = All();
  std::erase_if(servers, [&](Server* server) { return !owning.contains(server); });
  return servers;
}

absl::StatusOr<std::vector<SlotRange>> Masters::AskForSlots(const ServerAddress& address,
                                                            Deadline deadline) const {
  deadline = access_.TryDeadline(deadline);
  const auto connection = Connection::Open(address, access_.tls.get(), deadline);
  if (!connection.ok()) return connection.status();
  const std::string command = Encode({"CLUSTER", "SLOTS"});
  const auto replies = (*connection)->Run({&command, 1}, deadline);
  if (!replies.ok()) return absl::UnavailableError(replies.status().message());
  return ParseSlots(replies->front());
}

// The hint, then masters in turn, for one of them may be cut off from the others; then the address
// that the store was opened with, and whoever was met.
std::vector<ServerAddress> Masters::Advisers(const std::optional<ServerAddress>& hint) {
  std::vector<ServerAddress> advisers;
  if (hint) advisers.push_back(*hint);
  const std::vector<Server*> owning = Owning();
  for (std::size_t i = 0; i < owning.size(); ++i) {
    advisers.push_back(owning[(next_adviser_ + i) % owning.size()]->address());
  }
  ++next_adviser_;
  advisers.push_back(seed_);
  // Of a map that says little there may be nobody left but these.
  for (const Server* const server : All()) advisers.push_back(server->address());
  return advisers;
}

absl::Status Masters::Refresh(std::uint64_t seen, const std::optional<ServerAddress>& hint,
                              Deadline deadline) {
  const std::uint64_t before = refreshes_;
  const std::unique_lock lock(refresh_mutex_, deadline);
  // Somebody else has done it meanwhile, or has tried in vain.
  if (!lock || refreshes_ != before || map()->number != seen) return absl::OkStatus();
  const absl::Cleanup count = [this] { ++refreshes_; };
  absl::Status failed = absl::UnavailableError("redis: no node of the cluster is known");
  for (const ServerAddress& address : Advisers(hint)) {
    if (std::chrono::steady_clock::now() >= deadline) break;
    const auto ranges = AskForSlots(address, deadline);
    // A node that is alone knows nothing of slots.
    if (ranges.ok() && ranges->empty()) continue;
    failed = ranges.ok() ? Apply(*ranges, address) : ranges.status();
    if (failed.ok()) return failed;
  }
  return failed;
}

Server* Masters::MemberOf(const std::string& id, const ServerAddress& address) {
  for (Member& member : members_) {
    const bool is_same_place = IsSamePlace(member.server->address(), address);
    const bool is_known = !id.empty() && member.id == id;
    if (!is_known && !(is_same_place && (id.empty() || member.id.empty()))) continue;
    if (member.id.empty()) member.id = id;
    if (!is_same_place) member.server->MoveTo(address);
    return member.server.get();
  }
  if (members_.size() >= kServersMax) return nullptr;
  const std::string stem = absl::StrCat(ToAbsl(kWitnessTag), ".", absl::Hex(members_.size()));
  members_.push_back({.id = id, .server = std::make_unique<Server>(access_, address, stem)});
  return members_.back().server.get();
}

Server* Masters::At(const NodePlace& place, const Server& from) {
  const std::lock_guard lock(mutex_);
  return MemberOf("", AddressOf(place, from.address()));
}

absl::Status Masters::Apply(std::span<const SlotRange> ranges, const ServerAddress& asked) {
  const std::lock_guard lock(mutex_);
  auto next = std::make_shared<Map>();
  for (const SlotRange& range : ranges) {
    Server* const owner = MemberOf(range.master_id, AddressOf(range.master, asked));
    if (owner == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("redis: the cluster has had more than ", kServersMax,
                       " nodes since the store was opened; open it again"));
    }
    std::fill(next->owners.begin() + range.first, next->owners.begin() + range.last + 1, owner);
  }
  if (next->owners == map_->owners) return absl::OkStatus();
  next->number = map_->number + 1;
  NoteSuccessors(*next);
  map_ = std::move(next);
  return absl::OkStatus();
}

// Whoever owns nothing any more was emptied slot by slot, or has failed; its last slots' new owners
// know.
void Masters::NoteSuccessors(const Map& next) {
  const std::set<Server*> owning(next.owners.begin(), next.owners.end());
  std::set<std::pair<Server*, Server*>> successions;
  for (std::size_t slot = 0; slot < next.owners.size(); ++slot) {
    Server* const former = last_owners_[slot];
    Server* const owner = next.owners[slot];
    if (owner == nullptr) continue;
    if (former != nullptr && !owning.contains(former)) successions.emplace(owner, former);
    last_owners_[slot] = owner;
  }
  for (const auto& [owner, former] : successions) owner->Succeed(*former);
}

}  // namespace once::redis
