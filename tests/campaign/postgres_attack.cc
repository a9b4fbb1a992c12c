// Steps, and what must be left of them.
#include "tests/campaign/postgres_attack.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace once::campaign {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);
constexpr absl::Duration kPause = absl::Milliseconds(5);

}  // namespace

AttackedStore::AttackedStore(std::string attacked, std::string peer, std::uint64_t seed,
                             PostgresFault fault)
    : attacked_(std::move(attacked), seed, PostgresKind(fault)),
      peer_(std::move(peer), seed, PostgresKind()) {}

absl::Status AttackedStore::Open() {
  if (!is_open_) {
    if (absl::Status peer = peer_.Open(); !peer.ok()) return peer;
  }
  is_open_ = true;
  return attacked_.Open();
}

bool AttackedStore::WriteUntilFailure(std::int64_t steps_max) {
  for (std::int64_t i = 0; i < steps_max; ++i) {
    failure_ = attacked_.Do(next_);
    if (!failure_.ok()) return true;
    if (attacked_.IsDurable(next_)) durable_ = next_ + 1;
    ++next_;
    ++answered_;
  }
  return false;
}

absl::Status AttackedStore::Recover() {
  is_anew_ = false;
  const absl::Time deadline = absl::Now() + kPatience;
  while (true) {
    absl::Status taken = attacked_.TakeRow();
    // The step in flight had closed it.
    if (absl::IsFailedPrecondition(taken)) {
      is_anew_ = true;
      taken = attacked_.Open();
    }
    const bool is_passing = absl::IsUnavailable(taken) || absl::IsUnknown(taken);
    if (!is_passing || absl::Now() > deadline) return taken;
    absl::SleepFor(kPause);
  }
}

std::string AttackedStore::Compare(std::int64_t first, std::int64_t last) {
  const std::vector<std::string> found = attacked_.Dump(last);
  std::vector<std::string> acknowledged;
  std::vector<std::string> there;
  for (std::int64_t step = peer_next_; step < first; ++step) {
    if (const absl::Status done = peer_.Do(step); !done.ok()) return "the peer: " + done.ToString();
  }
  for (peer_next_ = first;; ++peer_next_) {
    there = peer_.Dump(peer_next_);
    if (peer_next_ == first) acknowledged = there;
    if (found == there) return "";
    if (peer_next_ == last) break;
    if (const absl::Status done = peer_.Do(peer_next_); !done.ok()) {
      return "the peer: " + done.ToString();
    }
  }
  lost_ = CountMissing(acknowledged, found, "");
  surplus_ = CountMissing(found, there, "effects ");
  return absl::StrCat("it holds neither what was there after ", first, " steps, nor later up to ",
                      last, "; the step in flight was ", attacked_.Describe(next_), ", which said ",
                      failure_.ToString(), DescribeDifference(acknowledged, found));
}

// A claim's commit that nobody had synced: whoever recorded it must not take it for synced.
std::string AttackedStore::CheckTold(std::int64_t from, std::int64_t to) {
  bool is_claim_lost = false;
  for (std::int64_t step = from; step < to; ++step) {
    is_claim_lost = is_claim_lost || attacked_.IsClaimWord(step);
  }
  const absl::Status first = attacked_.Sync();
  if (is_claim_lost && !is_anew_ && !absl::IsUnavailable(first)) {
    return absl::StrCat("claims of the steps from ", from, " are lost, and the next sync says ",
                        first.ToString());
  }
  if (from == to && !first.ok())
    return "nothing is lost, and the next sync says otherwise: " + first.ToString();
  if (!first.ok()) ++told_;
  const absl::Status second = attacked_.Sync();
  return second.ok() ? "" : "the second sync: " + second.ToString();
}

std::string AttackedStore::Check(bool may_lose, StepInFlight in_flight) {
  const bool is_passing =
      absl::IsUnavailable(failure_) || absl::IsUnknown(failure_) || absl::IsAborted(failure_);
  if (!is_passing) return absl::StrCat(attacked_.Describe(next_), " said ", failure_.ToString());
  if (const absl::Status recovered = Recover(); !recovered.ok()) {
    return absl::StrCat("after ", attacked_.Describe(next_),
                        " the row cannot be taken: ", recovered.ToString());
  }
  const bool may_be_applied = absl::IsUnknown(failure_);
  const std::int64_t most =
      may_be_applied && in_flight != StepInFlight::kNotApplied ? next_ + 1 : next_;
  const std::int64_t least = may_lose                              ? durable_
                             : in_flight == StepInFlight::kApplied ? next_ + 1
                                                                   : next_;
  steps_ += answered_;
  answered_ = 0;
  if (std::string wrong = Compare(std::min(least, most), most); !wrong.empty()) return wrong;
  if (peer_next_ > next_) ++in_flight_applied_;
  const std::int64_t lost_from = std::min(peer_next_, next_);
  undone_ += next_ - lost_from;
  std::string wrong = CheckTold(lost_from, next_);
  next_ = peer_next_;
  if (may_lose) next_ = (next_ + kStepsPerBlock) / kStepsPerBlock * kStepsPerBlock;
  peer_next_ = next_;
  durable_ = next_;
  return wrong;
}

}  // namespace once::campaign
