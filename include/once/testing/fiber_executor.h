// A FiberScheduler runs simulated processes on cooperative fibres in virtual time: one runner, no
// clock, no races, and every choice of who goes on is the oracle's. A Process is the Executor that
// the code under test gets. A fibre is a stack, or a thread that waits for its turn: the execution
// is the same.
//
//   FiberScheduler scheduler(oracle);
//   auto process = scheduler.NewProcess("worker-0");
//   scheduler.Spawn("main", process, [&] { … consumer->Step() … });
//   EXPECT_EQ(scheduler.Run(), FiberScheduler::End::kFinished);
//
// A crash makes a process a ghost: Kill() marks it dead, its seam calls then do nothing (the fakes
// see to that) and its waits return at once, so its straight-line code runs to its end, destructors
// included. Nothing is thrown through it and no stack is abandoned.
//
// Virtual time stands still while anything can run, and jumps to the next deadline otherwise.
// Thread-safety: none; everything happens in Run(), and one thing at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "once/executor.h"
#include "once/testing/oracle.h"

namespace once::testing {

class Condition;
class FiberScheduler;
class Process;

// For the scheduler's own use: one fibre and why it does not run.
struct FiberState;

// What fibres are made of.
enum class FiberKind : std::uint8_t {
  kStack,   // all on the thread that calls Run()
  kThread,  // slower by far: to check that nothing hangs on the other kind
};

class FiberPool;

class FiberScheduler {
 public:
  explicit FiberScheduler(Oracle& oracle, FiberKind kind = FiberKind::kStack);
  FiberScheduler(const FiberScheduler&) = delete;
  FiberScheduler& operator=(const FiberScheduler&) = delete;
  // REQUIRES: all fibres have ended.
  ~FiberScheduler();

  absl::Time Now() const { return now_; }
  Oracle& oracle() { return oracle_; }

  // The scheduler must outlive it.
  std::shared_ptr<Process> NewProcess(std::string name);

  // Begins a fibre. It belongs to `process` (null: to the harness, which never dies) until
  // MoveToProcess().
  void Spawn(std::string_view name, std::shared_ptr<Process> process, std::function<void()> body);

  // Runs `action` at virtual time `time`, outside every fibre; it must not wait.
  void At(absl::Time time, std::function<void()> action);

  enum class End : std::uint8_t {
    kFinished,  // every fibre has ended
    kDeadlock,  // every fibre waits for ever
    kStopped,   // Stop() was called
    kLivelock,  // too many switches, or too many waits of a ghost
  };
  End Run();
  // Makes Run() return at the next switch.
  void Stop() { is_stopped_ = true; }

  // How many switches one execution may take.
  void set_switches_max(std::int64_t switches) { switches_max_ = switches; }

  // False: that another fibre than the first in line goes on costs a preemption, also where none
  // was running. For worlds with so many fibres that all their orders are too many to play.
  void set_has_free_order(bool is_free) { has_free_order_ = is_free; }

  // -- From inside a fibre --

  // A point where the processor may be taken away: costs a preemption when it is.
  void Preempt();
  // Goes to the end of the queue. The next fibre in line goes on; another one costs a preemption.
  void Yield();
  void SleepUntil(absl::Time deadline);
  // The running fibre belongs to `process` from now on.
  void MoveToProcess(std::shared_ptr<Process> process);
  // Null for a fibre of the harness.
  Process* current_process() const;
  bool is_inside_fiber() const { return running_ != nullptr; }

  // -- Faults --

  // The process becomes a ghost; see the file comment. Listeners hear of it first.
  void Kill(Process& process);
  // None of its fibres runs for `duration`, or until Wake(). When the running fibre is one of them
  // this returns after that.
  void Stall(Process& process, absl::Duration duration);
  // Ends a stall. The process goes on at once, and the running fibre waits its turn.
  void Wake(Process& process);
  // A process that is stalled and not dead; null when there is none.
  Process* stalled_process() const;

 private:
  friend class Condition;
  friend class Process;
  struct Timer;

  std::shared_ptr<FiberState> NewFiber(std::string_view name, std::shared_ptr<Process> process,
                                       std::function<void()> body);
  void Block(FiberState& fiber, absl::Time deadline);
  void MakeReady(FiberState& fiber);
  FiberState* TakeNext();
  FiberState* TakeGhost();
  bool AdvanceTime();
  absl::Time NextTimer() const;
  void RunTimers();
  std::size_t CountRunnable() const;
  FiberState* TakeRunnable(std::size_t index);

  Oracle& oracle_;
  FiberPool& pool_;
  absl::Time now_;
  std::uint64_t timer_count_ = 0;
  std::int64_t switches_ = 0;
  std::int64_t switches_max_ = 2'000'000;
  bool is_stopped_ = false;
  bool is_yielding_ = false;
  bool has_free_order_ = true;
  FiberState* running_ = nullptr;
  FiberState* next_ = nullptr;  // chosen by Preempt(), before the queue
  std::vector<std::shared_ptr<FiberState>> fibers_;
  std::deque<FiberState*> ready_;
  std::vector<Timer> timers_;
  std::vector<Process*> processes_;
};

// One simulated operating-system process: a set of fibres that die together.
class Process : public Executor, public std::enable_shared_from_this<Process> {
 public:
  ~Process() override;

  const std::string& name() const { return name_; }
  // 1, 2, … in the order of NewProcess().
  int number() const { return number_; }
  bool is_dead() const { return is_dead_; }
  bool is_stalled() const { return is_stalled_; }
  FiberScheduler& scheduler() { return scheduler_; }

  // Called when the process is killed, before anything else happens.
  void OnKill(std::function<void()> action) { on_kill_.push_back(std::move(action)); }

  // After End::kLivelock: lets a ghost that spun go on.
  void ForgetGhostWaits() { ghost_waits_ = 0; }

  absl::Time Now() override { return scheduler_.Now(); }
  std::unique_ptr<Event> NewEvent() override;
  std::unique_ptr<Task> Spawn(std::string_view name, std::function<void()> body) override;

 private:
  friend class FiberScheduler;
  friend class Condition;
  Process(FiberScheduler& scheduler, std::string name, int number)
      : scheduler_(scheduler), name_(std::move(name)), number_(number) {}

  FiberScheduler& scheduler_;
  std::string name_;
  int number_;
  bool is_dead_ = false;
  bool is_stalled_ = false;
  std::uint64_t stall_ = 0;  // counts stalls, so that an old timer wakes no new one
  std::int64_t ghost_waits_ = 0;
  std::vector<std::function<void()>> on_kill_;
};

// Something that several fibres wait for. Not sticky: whoever is not waiting misses it, so callers
// loop over what they wait for.
class Condition {
 public:
  explicit Condition(FiberScheduler& scheduler) : scheduler_(scheduler) {}
  Condition(const Condition&) = delete;
  Condition& operator=(const Condition&) = delete;
  // REQUIRES: nobody waits.
  ~Condition();

  void NotifyAll();
  // False when `deadline` came first, or when the waiting process is dead.
  bool WaitUntil(absl::Time deadline);

 private:
  friend class FiberScheduler;
  FiberScheduler& scheduler_;
  std::vector<FiberState*> waiters_;
};

}  // namespace once::testing
