// The servers of a store, and which of them owns a slot now: one server, which owns all, or the
// masters of a Redis Cluster as its nodes tell.
// Thread-safety: safe for concurrent use.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/redis/server.h"
#include "adapters/redis/slots.h"

namespace once::redis {

// Servers that a store has met; more of them are refused until it is opened again.
inline constexpr std::size_t kServersMax = 1000;

class Masters {
 public:
  // REQUIRES: the options are checked.
  Masters(const StoreOptions& options, KeyNames keys, ServerAddress seed);

  // Once, when the store is opened: asks the address it was given, then meets every master, and
  // says what is wrong with any of them.
  absl::Status Meet(Deadline deadline);

  // Who owns what, at a time.
  struct Map {
    std::uint64_t number = 0;                 // of those there were
    std::array<Server*, kSlots> owners = {};  // null: nobody
  };
  std::shared_ptr<const Map> map() const;

  // Looks whether there is a newer map than number `seen`: as `hint` says, or one of the others,
  // each time another one. kUnavailable: none of them says any.
  absl::Status Refresh(std::uint64_t seen, const std::optional<ServerAddress>& hint,
                       Deadline deadline);
  // Of a node that `from` has named, also when it owns nothing yet. Null: there are too many.
  Server* At(const NodePlace& place, const Server& from);

  // All that were met, and those of them that own something now. They live as long as this.
  std::vector<Server*> All() const;
  std::vector<Server*> Owning() const;

  const Access& access() const { return access_; }
  const ServerAddress& seed() const { return seed_; }

 private:
  struct Member {
    std::string id;  // the node's; empty while nobody has said it
    std::unique_ptr<Server> server;
  };

  absl::Status LoadTls();
  absl::Status MeetCluster(Deadline deadline);
  absl::StatusOr<std::vector<SlotRange>> AskForSlots(const ServerAddress& address,
                                                     Deadline deadline) const;
  // `asked` has said so.
  absl::Status Apply(std::span<const SlotRange> ranges, const ServerAddress& asked);
  std::vector<ServerAddress> Advisers(const std::optional<ServerAddress>& hint);
  // Of the next two, `mutex_` is held.
  Server* MemberOf(const std::string& id, const ServerAddress& address);
  void NoteSuccessors(const Map& next);

  Access access_;
  const ServerAddress seed_;
  std::timed_mutex refresh_mutex_;            // held during a Refresh()
  std::atomic<std::uint64_t> refreshes_ = 0;  // that have ended
  std::size_t next_adviser_ = 0;

  mutable std::mutex mutex_;
  std::vector<Member> members_;
  std::shared_ptr<const Map> map_;
  // Also of slots that nobody owns now.
  std::array<Server*, kSlots> last_owners_ = {};
};

}  // namespace once::redis
