// Tokens drawn, and what the server says of them.
#include "adapters/redis/lane_leases.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/redis/outgoing_scripts.h"
#include "adapters/redis/values.h"
#include "src/test_hooks.h"

namespace once::redis {

LaneLeases::LaneLeases(Cluster& cluster, const SpoolKeys& keys, absl::Duration lease,
                       std::function<absl::Duration()> clock_skew)
    : cluster_(cluster), keys_(keys), lease_(lease), clock_skew_(std::move(clock_skew)) {
  DrawToken();
}

void LaneLeases::DrawToken() {
  token_ = absl::StrCat(absl::Hex(cluster_.incarnation()), ".", ++tokens_);
}

std::string LaneLeases::LeaseText() const { return Microseconds(lease_); }

std::string LaneLeases::LeadText() const {
  return Microseconds(clock_skew_ ? clock_skew_() : absl::ZeroDuration());
}

absl::StatusOr<std::vector<int>> LaneLeases::Hold() {
  if (std::exchange(must_tell_loss_, false)) return std::vector<int>();
  ScriptCall call{.key = keys_.OfRelays()};
  for (const int lane : AllLanes()) call.more_keys.push_back(keys_.OfLane(lane));
  // Relays that come at the same time look at other lanes first.
  const auto first = cluster_.incarnation() % kLanes;
  call.arguments = {LeadText(), token_, former_, LeaseText(), absl::StrCat(first)};
  for (const int lane : lanes_) call.arguments.push_back(absl::StrCat(lane));
  has_joined_ = true;
  const absl::StatusOr<Reply> reply = cluster_.Run(ScriptsOfOutgoing().hold, call);
  if (!reply.ok()) return reply.status();
  ONCE_KILL_POINT("redis_spool.lanes_held");
  if (reply->elements.size() < 2) return UnreadableAnswer("share lanes");
  former_.clear();
  if (reply->elements[0].integer != 0) {
    Lose();
    must_tell_loss_ = false;
    return std::vector<int>();
  }
  share_ = static_cast<std::size_t>(reply->elements[1].integer);
  lanes_.clear();
  for (std::size_t i = 2; i < reply->elements.size(); ++i) {
    lanes_.insert(static_cast<int>(reply->elements[i].integer));
  }
  return std::vector<int>(lanes_.begin(), lanes_.end());
}

void LaneLeases::Lose() {
  must_tell_loss_ = must_tell_loss_ || !lanes_.empty();
  lanes_.clear();
  former_ = token_;
  DrawToken();
}

void LaneLeases::Leave() {
  lanes_.clear();
  if (!std::exchange(has_joined_, false)) return;
  ScriptCall call{.key = keys_.OfRelays(), .arguments = {"1", token_}};
  // What was lost by one word of the server may still be its under the former one.
  if (!former_.empty()) call.arguments.push_back(former_);
  for (const int lane : AllLanes()) call.more_keys.push_back(keys_.OfLane(lane));
  const bool is_heard = cluster_.Run(ScriptsOfOutgoing().give_up, call).ok();
  former_ = is_heard ? "" : token_;
  DrawToken();
}

void LaneLeases::GiveUp(std::span<const int> lanes) {
  ScriptCall call{.key = keys_.OfRelays(), .arguments = {"0", token_}};
  for (const int lane : lanes) {
    if (lanes_.erase(lane) > 0) call.more_keys.push_back(keys_.OfLane(lane));
  }
  // Whoever gives up knows that they are gone.
  if (lanes_.empty()) {
    must_tell_loss_ = false;
    return Leave();
  }
  if (call.more_keys.empty()) return;
  // Unheard, they are another's once the lease has ended.
  cluster_.Run(ScriptsOfOutgoing().give_up, call).status().IgnoreError();
}

}  // namespace once::redis
