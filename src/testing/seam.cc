// The menu of faults, and what the gate does with the one that was chosen.
#include "once/testing/seam.h"

#include <algorithm>
#include <cassert>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::testing {
namespace {

// In the order of Seam …
constexpr std::string_view kSeamNames[] = {
    "poll",          "describe",      "start",
    "pause",         "commit-hint",   "commit-verified",
    "close",         "begin",         "find-ids",
    "put-ids",       "find-notes",    "put-notes",
    "put-outgoing",  "set-savepoint", "rollback-to-savepoint",
    "check-open",    "set-positions", "commit",
    "rollback",      "take",          "read-positions",
    "find-pending",  "count-pending", "mark-published",
    "park",          "handler",       "publish",
    "plain-handler", "try-claim",     "begun",
    "renew",         "complete",      "fail",
    "dying",         "kill",          "discard",
    "release",       "sync",          "get",
    "ack",           "requeue",       "read-outgoing",
    "write-outgoing"};
static_assert(std::size(kSeamNames) == kSeamCount);

// … and of Fault.
constexpr std::string_view kFaultNames[] = {"none",
                                            "failure",
                                            "unknown-applied",
                                            "unknown-not-applied",
                                            "unknown-applied-later",
                                            "crash-before",
                                            "crash-after",
                                            "crash-applied-later",
                                            "stall",
                                            "expel",
                                            "rebalance",
                                            "lose-one-commit",
                                            "lose-two-commits",
                                            "no-space"};
static_assert(std::size(kFaultNames) == kFaultCount);

constexpr FaultSet kCrash = {Fault::kCrashBefore, Fault::kCrashAfter};
constexpr FaultSet kStoreLoss = {Fault::kLoseOneCommit, Fault::kLoseTwoCommits};

constexpr FaultSet Union(FaultSet a, FaultSet b) {
  return FaultSet::All().Without(FaultSet::All().Without(a).And(FaultSet::All().Without(b)));
}

constexpr FaultSet FineMenu(Seam seam) {
  switch (seam) {
    case Seam::kPoll:
      return Union(kCrash, {Fault::kFailure, Fault::kStall, Fault::kExpel, Fault::kRebalance});
    case Seam::kDescribe:
    case Seam::kStart:
    case Seam::kPause:
      return Union(kCrash, {Fault::kFailure, Fault::kStall});
    case Seam::kCommitHint:
      return Union(kCrash, {Fault::kFailure, Fault::kUnknownNotApplied, Fault::kStall});
    case Seam::kCommitVerified:
      return Union(kCrash, {Fault::kFailure, Fault::kUnknownApplied, Fault::kUnknownNotApplied,
                            Fault::kStall});
    case Seam::kClose:
      return kCrash;
    case Seam::kBegin:
      return Union(Union(kCrash, kStoreLoss), {Fault::kFailure, Fault::kStall, Fault::kNoSpace});
    case Seam::kFindIds:
    case Seam::kPutIds:
    case Seam::kFindNotes:
    case Seam::kPutNotes:
    case Seam::kPutOutgoing:
    case Seam::kSetSavepoint:
    case Seam::kRollbackToSavepoint:
    case Seam::kSetPositions:
    case Seam::kFindPending:
    case Seam::kCountPending:
    case Seam::kReadOutgoing:
      return Union(kCrash, {Fault::kFailure, Fault::kStall});
    case Seam::kCheckOpen:
    case Seam::kHandler:
      return kCrash;
    case Seam::kRollback:
      return Union(kCrash, {Fault::kStall});
    case Seam::kCommit:
    case Seam::kTake:
    case Seam::kTryClaim:
    case Seam::kBegun:
    case Seam::kComplete:
    case Seam::kFail:
    case Seam::kDying:
    case Seam::kKill:
    case Seam::kDiscard:
    case Seam::kRelease:
      return Union(
          Union(kCrash, kStoreLoss),
          {Fault::kFailure, Fault::kUnknownApplied, Fault::kUnknownNotApplied,
           Fault::kUnknownAppliedLater, Fault::kCrashAppliedLater, Fault::kStall, Fault::kNoSpace});
    case Seam::kRenew:
    case Seam::kSync:
      return Union(Union(kCrash, kStoreLoss),
                   {Fault::kFailure, Fault::kUnknownApplied, Fault::kUnknownNotApplied,
                    Fault::kStall, Fault::kNoSpace});
    case Seam::kPlainHandler:
      return Union(kCrash, {Fault::kStall});
    case Seam::kReadPositions:
      return Union(Union(kCrash, kStoreLoss), {Fault::kFailure, Fault::kStall});
    case Seam::kMarkPublished:
    case Seam::kPark:
    case Seam::kWriteOutgoing:
      return Union(kCrash, {Fault::kFailure, Fault::kUnknownApplied, Fault::kUnknownNotApplied,
                            Fault::kStall, Fault::kNoSpace});
    case Seam::kPublish:
    case Seam::kAck:
    case Seam::kRequeue:
      return Union(kCrash, {Fault::kFailure, Fault::kUnknownApplied, Fault::kUnknownNotApplied,
                            Fault::kStall});
    case Seam::kGet:
      return Union(kCrash, {Fault::kFailure, Fault::kStall, Fault::kExpel});
  }
  return {};
}

// True where another process can tell whether the call has happened.
constexpr bool IsVisible(Seam seam) {
  switch (seam) {
    case Seam::kPoll:
    case Seam::kCommitVerified:
    case Seam::kBegin:
    case Seam::kFindIds:  // locks ids
    case Seam::kCommit:
    case Seam::kTake:
    case Seam::kPublish:
    case Seam::kMarkPublished:
    case Seam::kWriteOutgoing:
    case Seam::kPlainHandler:  // its effect
    case Seam::kTryClaim:
    case Seam::kBegun:
    case Seam::kComplete:
    case Seam::kFail:
    case Seam::kDying:
    case Seam::kKill:
    case Seam::kDiscard:
    case Seam::kRelease:
    case Seam::kGet:
    case Seam::kAck:
    case Seam::kRequeue:
      return true;
    default:
      return false;
  }
}

constexpr FaultSet CoarseMenu(Seam seam) {
  FaultSet menu = FineMenu(seam).Without({Fault::kCrashAfter});
  if (!IsVisible(seam)) menu = menu.Without({Fault::kCrashBefore, Fault::kStall});
  if (seam == Seam::kFindIds) menu = menu.Without({Fault::kCrashBefore, Fault::kStall});
  if (seam == Seam::kPoll) menu = menu.Without({Fault::kFailure});
  return menu;
}

}  // namespace

std::string_view ToString(Seam seam) { return kSeamNames[static_cast<std::size_t>(seam)]; }
std::string_view ToString(Fault fault) { return kFaultNames[static_cast<std::size_t>(fault)]; }

FaultSet Menu(Seam seam, Grain grain) {
  return grain == Grain::kFine ? FineMenu(seam) : CoarseMenu(seam);
}

std::string ToString(Point point) {
  return absl::StrCat(ToAbsl(ToString(point.seam)), "/", ToAbsl(ToString(point.fault)));
}

std::vector<Point> AllPoints(FaultSet faults) {
  std::vector<Point> points;
  for (std::size_t seam = 0; seam < kSeamCount; ++seam) {
    const FaultSet menu = FineMenu(static_cast<Seam>(seam)).And(faults);
    for (std::size_t fault = 1; fault < kFaultCount; ++fault) {
      const Point point{.seam = static_cast<Seam>(seam), .fault = static_cast<Fault>(fault)};
      if (menu.Has(point.fault)) points.push_back(point);
    }
  }
  return points;
}

void PointCounts::Add(const PointCounts& other) {
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
}

int SeamGate::CountHits(Fault fault) const {
  return static_cast<int>(std::count_if(hits_.begin(), hits_.end(),
                                        [fault](const Point& hit) { return hit.fault == fault; }));
}

void SeamGate::Mark(Seam seam, Fault fault) { hits_.push_back({.seam = seam, .fault = fault}); }

// A process that sleeps may wake at any visible call of another one.
void SeamGate::WakeStalled(Process& process) {
  Process* stalled = scheduler_.stalled_process();
  if (stalled == nullptr || stalled == &process) return;
  if (scheduler_.oracle().Choose("wake", 2, Cost::kFree) == 1) scheduler_.Wake(*stalled);
}

Fault SeamGate::Pass(Process& process, Seam seam, std::uint64_t fact) {
  if (process.is_dead()) return Fault::kNone;
  Oracle& oracle = scheduler_.oracle();
  if (options_.grain == Grain::kFine || IsVisible(seam)) {
    WakeStalled(process);
    if (!process.is_dead()) scheduler_.Preempt();
    if (process.is_dead()) return Fault::kNone;
  }
  const auto number = static_cast<std::size_t>(process.number());
  if (last_.size() <= number) last_.resize(number + 1, Seam::kPoll);
  ++calls_;
  std::array<Fault, kFaultCount> menu{};
  std::size_t size = 1;
  const FaultSet faults = Menu(seam, options_.grain).And(options_.faults);
  for (std::size_t fault = 1; fault < kFaultCount && !faults.empty(); ++fault) {
    if (faults.Has(static_cast<Fault>(fault))) menu[size++] = static_cast<Fault>(fault);
  }
  Fault fault = menu[static_cast<std::size_t>(
      oracle.Choose(ToString(seam), static_cast<int>(size), Cost::kFault))];
  oracle.Trace(fact * 64 + static_cast<std::uint64_t>(seam) * kFaultCount +
               static_cast<std::uint64_t>(fault) + (static_cast<std::uint64_t>(number) << 48));
  if (on_call_) on_call_(process, seam, fault);
  const Seam before = last_[number];
  last_[number] = seam;
  if (fault == Fault::kNone) return fault;
  Mark(seam, fault);
  switch (fault) {
    case Fault::kCrashBefore:
      if (Menu(before, Grain::kFine).Has(Fault::kCrashAfter)) Mark(before, Fault::kCrashAfter);
      Crash(process);
      return Fault::kNone;
    case Fault::kStall:
      if (on_expel_) on_expel_(process, false);
      scheduler_.Stall(process, options_.stall);
      return Fault::kNone;
    case Fault::kExpel:
      if (on_expel_) on_expel_(process, true);
      return Fault::kNone;
    case Fault::kRebalance:
      if (on_rebalance_) on_rebalance_();
      return Fault::kNone;
    default:
      return fault;
  }
}

}  // namespace once::testing
