// One piece of work, handed over and back by one word of memory.
#include "src/side_task.h"

#include <cassert>
#include <utility>

namespace once {

SideTask::SideTask(Executor& executor, std::string_view name)
    : given_(executor.NewEvent()),
      done_(executor.NewEvent()),
      task_(executor.Spawn(name, [this] { Run(); })) {}

SideTask::~SideTask() {
  is_closing_.store(true);
  given_->Set();
  task_ = nullptr;
}

void SideTask::Run() {
  // A wait without a deadline returns false only where the process is to be taken for dead.
  while (given_->WaitUntil(absl::InfiniteFuture())) {
    if (state_.load(std::memory_order_acquire) == State::kGiven) Work();
    if (is_closing_.load()) return;
  }
  is_gone_.store(true);
  if (state_.load(std::memory_order_acquire) == State::kGiven) Work();
}

void SideTask::Work() {
  work_();
  work_ = nullptr;
  state_.store(State::kDone, std::memory_order_release);
  done_->Set();
}

void SideTask::Start(std::function<void()> work) {
  assert(!is_busy());
  work_ = std::move(work);
  state_.store(State::kGiven, std::memory_order_release);
  if (is_gone_.load()) return Work();
  given_->Set();
}

bool SideTask::WaitUntil(absl::Time deadline) {
  // The word that an earlier piece of work was done may still be there: it wakes for nothing.
  while (!is_done() && done_->WaitUntil(deadline)) {
  }
  return is_done();
}

void SideTask::End() {
  assert(is_done());
  state_.store(State::kIdle, std::memory_order_release);
}

}  // namespace once
