// A SeamGate is what every call of a fake passes before anything happens: there the oracle decides
// whether the processor is taken away, whether a fault strikes, and which. A (seam, fault) pair is
// a crash point; the gate knows the whole menu and remembers which points were hit, and how often.
//
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "once/testing/fiber_executor.h"
#include "once/testing/oracle.h"

namespace once::testing {

// Every kind of call that leaves the engine.
enum class Seam : std::uint8_t {
  kPoll,
  kDescribe,
  kStart,
  kPause,
  kCommitHint,
  kCommitVerified,
  kClose,
  kBegin,
  kFindIds,
  kPutIds,
  kFindNotes,
  kPutNotes,
  kPutOutgoing,
  kSetSavepoint,
  kRollbackToSavepoint,
  kCheckOpen,
  kSetPositions,
  kCommit,
  kRollback,
  kTake,
  kReadPositions,
  kFindPending,
  kCountPending,
  kMarkPublished,
  kPark,
  kHandler,
  kPublish,
  kPlainHandler,
  kTryClaim,
  kBegun,
  kRenew,
  kComplete,
  kFail,
  kDying,
  kKill,
  kDiscard,
  kRelease,
  kSync,
  kGet,
  kAck,
  kRequeue,
  kReadOutgoing,   // rows and facts of a log of outgoing messages
  kWriteOutgoing,  // facts, by a transaction of the log's own
};
inline constexpr std::size_t kSeamCount = static_cast<std::size_t>(Seam::kWriteOutgoing) + 1;

// What may go wrong there.
enum class Fault : std::uint8_t {
  kNone,
  kFailure,              // not applied, and said so
  kUnknownApplied,       // applied; the answer is lost
  kUnknownNotApplied,    // not applied; the answer is lost
  kUnknownAppliedLater,  // the answer is lost while the request is still on its way, locks held
  kCrashBefore,          // the process dies before the call …
  kCrashAfter,           // … or after its effect
  kCrashAppliedLater,    // … or while the request is still on its way
  kStall,                // the process sleeps until its session has ended, then goes on
  kExpel,                // its session ends, and it goes on at once; its next poll tells nothing
  kRebalance,            // the group moves partitions
  kLoseOneCommit,        // the store loses its last commit, and every open transaction
  kLoseTwoCommits,       // two; where only unsynced ones can be lost, all of these
  kNoSpace,              // the store can write nothing for a while, this call included
};
inline constexpr std::size_t kFaultCount = static_cast<std::size_t>(Fault::kNoSpace) + 1;

std::string_view ToString(Seam seam);
std::string_view ToString(Fault fault);

// A set of fault kinds; what a scenario allows.
class FaultSet {
 public:
  constexpr FaultSet() = default;
  constexpr FaultSet(std::initializer_list<Fault> faults) {
    for (const Fault fault : faults) bits_ |= 1u << static_cast<unsigned>(fault);
  }
  static constexpr FaultSet All() {
    FaultSet set;
    set.bits_ = (1u << kFaultCount) - 2;
    return set;
  }
  constexpr bool Has(Fault fault) const {
    return (bits_ >> static_cast<unsigned>(fault) & 1u) != 0;
  }
  constexpr FaultSet Without(FaultSet other) const {
    FaultSet set;
    set.bits_ = bits_ & ~other.bits_;
    return set;
  }
  constexpr FaultSet And(FaultSet other) const {
    FaultSet set;
    set.bits_ = bits_ & other.bits_;
    return set;
  }
  constexpr bool empty() const { return bits_ == 0; }

 private:
  std::uint32_t bits_ = 0;
};

// How many places a fault is offered at.
enum class Grain : std::uint8_t {
  // Every point of the menu.
  kFine,
  // Without the points that are equal to another one: a crash inside a transaction equals one
  // before its commit, a crash after a call one before the next, a source that gives up a crash; a
  // process that sleeps where nobody sees it could as well sleep before its next visible call.
  kCoarse,
};

// The faults that make sense at `seam`.
FaultSet Menu(Seam seam, Grain grain);

// A crash point.
struct Point {
  Seam seam = Seam::kPoll;
  Fault fault = Fault::kNone;

  friend bool operator==(const Point&, const Point&) = default;
};
// "commit/unknown-applied".
std::string ToString(Point point);
// Every point of the fine menus at which one of `faults` may strike.
std::vector<Point> AllPoints(FaultSet faults);

// How often each point was hit.
class PointCounts {
 public:
  std::int64_t Of(Point point) const { return counts_[IndexOf(point)]; }
  void Add(Point point, std::int64_t times = 1) { counts_[IndexOf(point)] += times; }
  void Add(const PointCounts& other);

 private:
  static constexpr std::size_t IndexOf(Point point) {
    return static_cast<std::size_t>(point.seam) * kFaultCount +
           static_cast<std::size_t>(point.fault);
  }
  std::array<std::int64_t, kSeamCount * kFaultCount> counts_{};
};

struct SeamOptions {
  FaultSet faults;
  Grain grain = Grain::kCoarse;
  absl::Duration stall = absl::Milliseconds(300);
};

class SeamGate {
 public:
  SeamGate(FiberScheduler& scheduler, SeamOptions options)
      : scheduler_(scheduler), options_(options) {}
  SeamGate(const SeamGate&) = delete;
  SeamGate& operator=(const SeamGate&) = delete;

  // Called first in every seam call of `process`. The gate itself does what concerns processes and
  // the group (crash before, stall, expel, rebalance) and then answers kNone; the caller does the
  // rest. A caller whose process is dead afterwards must do nothing and answer kCancelled.
  // REQUIRES: kCrashAfter and kCrashAppliedLater are answered by calling Crash() after the effect.
  Fault Pass(Process& process, Seam seam, std::uint64_t fact = 0);

  // The process dies now, and with it what servers hold for it.
  void Crash(Process& process) { scheduler_.Kill(process); }

  // No fault from now on; what is stalled wakes by itself.
  void Quiet() { scheduler_.oracle().Quiet(); }

  // The points that were hit, in order.
  const std::vector<Point>& hits() const { return hits_; }
  int CountHits(Fault fault) const;
  FiberScheduler& scheduler() { return scheduler_; }
  // What may go wrong from now on.
  void set_faults(FaultSet faults) { options_.faults = faults; }

  // Passed calls of living processes.
  std::int64_t calls() const { return calls_; }

  // Servers register what a fault does to them.
  void set_on_expel(std::function<void(Process&, bool is_deaf)> action) {
    on_expel_ = std::move(action);
  }
  void set_on_rebalance(std::function<void()> action) { on_rebalance_ = std::move(action); }
  // Called for each passed call when set: for the history of a witness.
  void set_on_call(std::function<void(Process&, Seam, Fault)> action) {
    on_call_ = std::move(action);
  }

 private:
  void WakeStalled(Process& process);
  void Mark(Seam seam, Fault fault);

  FiberScheduler& scheduler_;
  SeamOptions options_;
  std::vector<Point> hits_;
  std::int64_t calls_ = 0;
  std::function<void(Process&, bool)> on_expel_;
  std::function<void()> on_rebalance_;
  std::function<void(Process&, Seam, Fault)> on_call_;
  // The last seam each process passed, by number: a crash before the next call is a crash after it.
  std::vector<Seam> last_;
};

}  // namespace once::testing
