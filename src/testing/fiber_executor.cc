// The scheduler's loop, virtual time, and what a fibre waits for.
#include "once/testing/fiber_executor.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "src/testing/fiber.h"

namespace once::testing {

struct FiberState {
  std::string name;
  std::shared_ptr<Process> process;
  std::unique_ptr<Fiber> fiber;
  Condition* waits_for = nullptr;
  absl::Time deadline = absl::InfiniteFuture();
  std::uint64_t order = 0;  // of the wait, so that equal deadlines end in order
  bool is_ready = false;
  bool is_waiting = false;
  bool is_notified = false;
  bool is_done = false;
  std::vector<std::unique_ptr<Condition>> done;  // at most one: who joins this fibre
};

struct FiberScheduler::Timer {
  absl::Time time;
  std::uint64_t order;
  std::function<void()> action;
};

namespace {

// A ghost that waits this often spins: its loop does not end on kCancelled.
constexpr std::int64_t kGhostWaitsMax = 20'000;

// The virtual clock begins here, far enough from 1970 that subtracting hours stays positive.
absl::Time Epoch() { return absl::FromUnixSeconds(1'700'000'000); }

class FiberEvent : public Event {
 public:
  explicit FiberEvent(Process& process) : process_(process), condition_(process.scheduler()) {}

  void Set() override {
    is_set_ = true;
    condition_.NotifyAll();
  }

  bool WaitUntil(absl::Time deadline) override {
    process_.scheduler().Preempt();
    if (!is_set_) condition_.WaitUntil(deadline);
    if (!is_set_) return false;
    is_set_ = false;
    return true;
  }

 private:
  Process& process_;
  Condition condition_;
  bool is_set_ = false;
};

class FiberTask : public Task {
 public:
  FiberTask(FiberScheduler& scheduler, std::shared_ptr<FiberState> fiber)
      : scheduler_(scheduler), fiber_(std::move(fiber)) {}
  ~FiberTask() override;

 private:
  FiberScheduler& scheduler_;
  std::shared_ptr<FiberState> fiber_;
};

// A ghost joins like anybody else: its waits return at once, so it goes round until the task, a
// ghost too, has run to its end.
FiberTask::~FiberTask() {
  while (!fiber_->is_done) {
    if (fiber_->done.empty()) fiber_->done.push_back(std::make_unique<Condition>(scheduler_));
    fiber_->done.front()->WaitUntil(absl::InfiniteFuture());
  }
}

}  // namespace

FiberScheduler::FiberScheduler(Oracle& oracle, FiberKind kind)
    : oracle_(oracle), pool_(FiberPool::OfThisThread(kind)), now_(Epoch()) {}

FiberScheduler::~FiberScheduler() {
  if (fibers_.empty()) return;
  std::fprintf(stderr, "once: a scheduler was destroyed before its fibre \"%s\" had ended\n",
               fibers_.front()->name.c_str());
  std::abort();
}

std::shared_ptr<Process> FiberScheduler::NewProcess(std::string name) {
  static_assert(sizeof(Process) > 0);
  std::shared_ptr<Process> process(
      new Process(*this, std::move(name), static_cast<int>(processes_.size()) + 1));
  processes_.push_back(process.get());
  return process;
}

std::shared_ptr<FiberState> FiberScheduler::NewFiber(std::string_view name,
                                                     std::shared_ptr<Process> process,
                                                     std::function<void()> body) {
  auto state = std::make_shared<FiberState>();
  state->name = name;
  state->process = std::move(process);
  state->fiber = pool_.Take();
  state->fiber->Start(std::move(body));
  fibers_.push_back(state);
  MakeReady(*state);
  return state;
}

void FiberScheduler::Spawn(std::string_view name, std::shared_ptr<Process> process,
                           std::function<void()> body) {
  NewFiber(name, std::move(process), std::move(body));
}

void FiberScheduler::At(absl::Time time, std::function<void()> action) {
  timers_.push_back({.time = time, .order = timer_count_++, .action = std::move(action)});
}

FiberScheduler::End FiberScheduler::Run() {
  assert(running_ == nullptr);
  is_stopped_ = false;
  while (!fibers_.empty()) {
    if (is_stopped_) return End::kStopped;
    if (++switches_ > switches_max_) return End::kLivelock;
    FiberState* fiber = TakeNext();
    if (fiber == nullptr) {
      if (!AdvanceTime()) return End::kDeadlock;
      continue;
    }
    if (fiber->process != nullptr && fiber->process->ghost_waits_ > kGhostWaitsMax) {
      ready_.push_front(fiber);
      fiber->is_ready = true;
      return End::kLivelock;
    }
    running_ = fiber;
    fiber->fiber->Resume();
    running_ = nullptr;
    if (!fiber->fiber->is_done()) continue;
    fiber->is_done = true;
    pool_.Give(std::move(fiber->fiber));
    if (!fiber->done.empty()) fiber->done.front()->NotifyAll();
    std::erase_if(fibers_, [fiber](const auto& other) { return other.get() == fiber; });
  }
  return End::kFinished;
}

void FiberScheduler::MakeReady(FiberState& fiber) {
  if (fiber.is_ready) return;
  fiber.is_ready = true;
  ready_.push_back(&fiber);
}

// Gives the processor up until MakeReady() or the deadline.
void FiberScheduler::Block(FiberState& fiber, absl::Time deadline) {
  fiber.is_waiting = true;
  fiber.is_notified = false;
  fiber.deadline = deadline;
  fiber.order = timer_count_++;
  fiber.fiber->Suspend();
}

std::size_t FiberScheduler::CountRunnable() const {
  std::size_t count = 0;
  for (const FiberState* fiber : ready_) {
    if (fiber->process == nullptr || !fiber->process->is_stalled_) ++count;
  }
  return count;
}

// The index-th fibre of the queue that is not stalled.
FiberState* FiberScheduler::TakeRunnable(std::size_t index) {
  for (auto it = ready_.begin(); it != ready_.end(); ++it) {
    FiberState* fiber = *it;
    if (fiber->process != nullptr && fiber->process->is_stalled_) continue;
    if (index-- > 0) continue;
    ready_.erase(it);
    fiber->is_ready = false;
    return fiber;
  }
  return nullptr;
}

// Ghosts run before anybody else and without a choice: they have no effect, so order is no matter.
FiberState* FiberScheduler::TakeGhost() {
  for (auto it = ready_.begin(); it != ready_.end(); ++it) {
    FiberState* fiber = *it;
    if (fiber->process == nullptr || !fiber->process->is_dead_) continue;
    ready_.erase(it);
    fiber->is_ready = false;
    return fiber;
  }
  return nullptr;
}

FiberState* FiberScheduler::TakeNext() {
  if (FiberState* ghost = TakeGhost()) return ghost;
  if (next_ != nullptr) {
    for (std::size_t i = 0; i < ready_.size(); ++i) {
      FiberState* fiber = ready_[i];
      if (fiber != next_ || (fiber->process != nullptr && fiber->process->is_stalled_)) continue;
      ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(i));
      fiber->is_ready = false;
      next_ = nullptr;
      return fiber;
    }
    next_ = nullptr;
  }
  const std::size_t runnable = CountRunnable();
  if (runnable == 0) return nullptr;
  const Cost cost = is_yielding_ || !has_free_order_ ? Cost::kPreemption : Cost::kFree;
  is_yielding_ = false;
  const int choice =
      oracle_.Choose("next", static_cast<int>(std::min<std::size_t>(runnable, 64)), cost);
  return TakeRunnable(static_cast<std::size_t>(choice));
}

// Nothing can run: jumps to the next deadline. False when there is none and nobody is stalled.
bool FiberScheduler::AdvanceTime() {
  absl::Time next = NextTimer();
  for (const auto& fiber : fibers_) {
    const bool is_stalled = fiber->process != nullptr && fiber->process->is_stalled_;
    if (fiber->is_waiting && !is_stalled) next = std::min(next, fiber->deadline);
  }
  if (next == absl::InfiniteFuture()) {
    Process* stalled = stalled_process();
    if (stalled == nullptr) return false;
    Wake(*stalled);
    return true;
  }
  now_ = std::max(now_, next);
  std::vector<FiberState*> expired;
  for (const auto& fiber : fibers_) {
    if (fiber->is_waiting && fiber->deadline <= now_) expired.push_back(fiber.get());
  }
  std::sort(expired.begin(), expired.end(),
            [](const FiberState* a, const FiberState* b) { return a->order < b->order; });
  for (FiberState* fiber : expired) {
    fiber->deadline = absl::InfiniteFuture();
    MakeReady(*fiber);
  }
  RunTimers();
  return true;
}

absl::Time FiberScheduler::NextTimer() const {
  absl::Time next = absl::InfiniteFuture();
  for (const Timer& timer : timers_) next = std::min(next, timer.time);
  return next;
}

void FiberScheduler::RunTimers() {
  std::vector<Timer> due;
  std::erase_if(timers_, [&](Timer& timer) {
    if (timer.time > now_) return false;
    due.push_back(std::move(timer));
    return true;
  });
  std::sort(due.begin(), due.end(),
            [](const Timer& a, const Timer& b) { return a.order < b.order; });
  for (Timer& timer : due) timer.action();
}

void FiberScheduler::Preempt() {
  FiberState* fiber = running_;
  if (fiber == nullptr || (fiber->process != nullptr && fiber->process->is_dead_)) return;
  const std::size_t runnable = CountRunnable();
  if (runnable == 0) return;
  const int choices = static_cast<int>(std::min<std::size_t>(runnable + 1, 64));
  const int choice = oracle_.Choose("preempt", choices, Cost::kPreemption);
  if (choice == 0) return;
  FiberState* other = TakeRunnable(static_cast<std::size_t>(choice - 1));
  other->is_ready = true;
  ready_.push_front(other);
  next_ = other;
  MakeReady(*fiber);
  fiber->fiber->Suspend();
}

void FiberScheduler::Yield() {
  FiberState* fiber = running_;
  assert(fiber != nullptr);
  MakeReady(*fiber);
  is_yielding_ = true;
  fiber->fiber->Suspend();
}

void FiberScheduler::SleepUntil(absl::Time deadline) {
  FiberState* fiber = running_;
  assert(fiber != nullptr);
  if (fiber->process != nullptr && fiber->process->is_dead_) return;
  Block(*fiber, deadline);
  fiber->is_waiting = false;
}

void FiberScheduler::MoveToProcess(std::shared_ptr<Process> process) {
  assert(running_ != nullptr);
  running_->process = std::move(process);
}

Process* FiberScheduler::current_process() const {
  return running_ == nullptr ? nullptr : running_->process.get();
}

void FiberScheduler::Kill(Process& process) {
  if (process.is_dead_) return;
  const std::vector<std::function<void()>> listeners = std::move(process.on_kill_);
  process.on_kill_.clear();
  for (const auto& listener : listeners) listener();
  process.is_dead_ = true;
  process.is_stalled_ = false;
  for (const auto& fiber : fibers_) {
    if (fiber->process.get() == &process && fiber->is_waiting) MakeReady(*fiber);
  }
}

void FiberScheduler::Stall(Process& process, absl::Duration duration) {
  if (process.is_dead_) return;
  process.is_stalled_ = true;
  const std::uint64_t stall = ++process.stall_;
  At(now_ + duration, [this, stall, weak = process.weak_from_this()] {
    const std::shared_ptr<Process> stalled = weak.lock();
    if (stalled != nullptr && stalled->stall_ == stall) Wake(*stalled);
  });
  if (running_ == nullptr || running_->process.get() != &process) return;
  FiberState* fiber = running_;
  MakeReady(*fiber);
  fiber->fiber->Suspend();
}

void FiberScheduler::Wake(Process& process) {
  if (!process.is_stalled_) return;
  process.is_stalled_ = false;
  // To the front, so that whoever was waited for goes on at once.
  std::stable_partition(ready_.begin(), ready_.end(), [&process](const FiberState* fiber) {
    return fiber->process.get() == &process;
  });
  for (FiberState* fiber : ready_) {
    if (fiber->process.get() != &process) continue;
    next_ = fiber;
    break;
  }
  FiberState* fiber = running_;
  if (fiber == nullptr || fiber->process.get() == &process || next_ == nullptr) return;
  MakeReady(*fiber);
  fiber->fiber->Suspend();
}

Process* FiberScheduler::stalled_process() const {
  for (Process* process : processes_) {
    if (process != nullptr && process->is_stalled_) return process;
  }
  return nullptr;
}

Process::~Process() { scheduler_.processes_[static_cast<std::size_t>(number_ - 1)] = nullptr; }

std::unique_ptr<Event> Process::NewEvent() { return std::make_unique<FiberEvent>(*this); }

std::unique_ptr<Task> Process::Spawn(std::string_view name, std::function<void()> body) {
  return std::make_unique<FiberTask>(
      scheduler_, scheduler_.NewFiber(name, shared_from_this(), std::move(body)));
}

Condition::~Condition() { assert(waiters_.empty()); }

void Condition::NotifyAll() {
  for (FiberState* fiber : waiters_) {
    fiber->is_notified = true;
    scheduler_.MakeReady(*fiber);
  }
  waiters_.clear();
}

bool Condition::WaitUntil(absl::Time deadline) {
  FiberState* fiber = scheduler_.running_;
  if (fiber == nullptr) {
    // Outside of fibres nothing else can run meanwhile, so the wait is over at once.
    scheduler_.now_ = std::max(scheduler_.now_, std::min(deadline, scheduler_.NextTimer()));
    scheduler_.RunTimers();
    return false;
  }
  Process* process = fiber->process.get();
  if (process != nullptr && process->is_dead()) {
    // A ghost lets the other ghosts of its process go first: it may be waiting for their end.
    ++process->ghost_waits_;
    scheduler_.MakeReady(*fiber);
    fiber->fiber->Suspend();
    return false;
  }
  if (deadline <= scheduler_.now_) return false;
  waiters_.push_back(fiber);
  fiber->waits_for = this;
  scheduler_.Block(*fiber, deadline);
  fiber->is_waiting = false;
  fiber->waits_for = nullptr;
  if (!fiber->is_notified) std::erase(waiters_, fiber);
  const bool is_dead = fiber->process != nullptr && fiber->process->is_dead();
  return fiber->is_notified && !is_dead;
}

}  // namespace once::testing
