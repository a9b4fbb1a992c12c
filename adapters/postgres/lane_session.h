// The LaneSession is how the relay of one opening takes part in sharing the lanes of outgoing
// messages with those of others: one session whose locks are its lanes. The server gives them to
// others once the session is gone, with whatever it has not committed; and it ends the session of a
// relay that asks nothing for kSilentAfter, so that one that hangs, or whose machine is gone, holds
// nothing for long.
//
// A relay counts as one as long as it has a session here. The share of each is the same, rounded
// up; who has more lets go when he can (stores::LaneSharing).
// Thread-safety: one thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/postgres/database.h"
#include "adapters/postgres/outgoing_rows.h"
#include "adapters/postgres/session.h"
#include "src/stores/lane_sharing.h"

namespace once::postgres {

class LaneSession {
 public:
  static constexpr absl::Duration kSilentAfter = absl::Seconds(15);

  explicit LaneSession(Database& database) : database_(database) {}
  ~LaneSession() { Leave(); }
  LaneSession(const LaneSession&) = delete;
  LaneSession& operator=(const LaneSession&) = delete;

  // As OutgoingLog::HoldLanes(): connects where it is not. After a session was lost with lanes, the
  // first call tells none, so that their loss is noticed whoever has them next.
  absl::StatusOr<std::vector<int>> Hold();
  void GiveUp(std::span<const int> lanes);
  std::vector<int> FindSurplus() const { return stores::SurplusOf(lanes_, share_); }
  bool Holds(int lane) const { return lanes_.contains(lane); }
  // The greatest number of the lane that anybody had drawn at the last Hold().
  std::int64_t last_drawn(int lane) const { return last_drawn_.at(static_cast<std::size_t>(lane)); }

  // Null: there is none, and no lane is held.
  Session* session();
  // Under which number the lanes are this session's.
  std::int64_t owner() const { return owner_; }
  // Queues what lets other relays see that the epoch is in use as long as this session lives.
  void QueueEpoch(std::uint64_t epoch);
  // What was queued may not have been run.
  void ForgetEpochs() { epochs_.clear(); }
  // Everything is lost: the session, or, as it has found, a lane.
  void Lose();

 private:
  absl::Status Connect();
  absl::Status Survey(std::vector<int>& free);
  absl::Status Take(std::vector<int> wanted);
  void Leave();

  Database& database_;
  std::unique_ptr<Session> session_;
  std::int64_t owner_ = 0;
  std::set<int> lanes_;
  std::set<std::uint64_t> epochs_;
  std::size_t share_ = 0;
  std::array<std::int64_t, kLanes> last_drawn_{};
  bool must_tell_loss_ = false;
};

}  // namespace once::postgres
