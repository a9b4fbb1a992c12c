// LaneLeases are how the relay of one opening takes part in sharing the lanes of a spool with those
// of other processes: each lane has an owner, named by a token, until a time of the server's clock.
// The token is compared by every script that writes to the lane, so whoever has lost it to another
// one writes nothing there any more, however late he notices.
//
// A relay counts as one as long as its own lease runs. The share of each is the same, rounded up;
// who has more lets go when he can (stores::LaneSharing).
// Thread-safety: one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/redis/cluster.h"
#include "adapters/redis/outgoing_rows.h"
#include "src/stores/lane_sharing.h"

namespace once::redis {

class LaneLeases {
 public:
  // REQUIRES: `cluster` outlives it.
  LaneLeases(Cluster& cluster, const SpoolKeys& keys, absl::Duration lease,
             std::function<absl::Duration()> clock_skew);
  ~LaneLeases() { Leave(); }
  LaneLeases(const LaneLeases&) = delete;
  LaneLeases& operator=(const LaneLeases&) = delete;

  // As OutgoingLog::HoldLanes(), and renews what is held. After lanes were lost the first call
  // tells none, so that their loss is noticed whoever has them next.
  absl::StatusOr<std::vector<int>> Hold();
  void GiveUp(std::span<const int> lanes);
  std::vector<int> FindSurplus() const { return stores::SurplusOf(lanes_, share_); }
  bool Holds(int lane) const { return lanes_.contains(lane); }

  // Never empty.
  const std::string& token() const { return token_; }
  std::string LeaseText() const;
  // What is added to the server's clock.
  std::string LeadText() const;
  // Another one has a lane: none is held any more.
  void Lose();

 private:
  void Leave();
  void DrawToken();

  Cluster& cluster_;
  const SpoolKeys& keys_;
  const absl::Duration lease_;
  const std::function<absl::Duration()> clock_skew_;
  std::uint64_t tokens_ = 0;
  std::string token_;
  std::string former_;  // what it held may still be its: nobody else uses it
  bool has_joined_ = false;
  std::set<int> lanes_;
  std::size_t share_ = 0;
  bool must_tell_loss_ = false;
};

}  // namespace once::redis
