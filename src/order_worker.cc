// The mailbox between the polling thread and the worker.
#include "src/order_worker.h"

#include <cassert>
#include <utility>

namespace once {

OrderWorker::OrderWorker(Executor& executor, std::function<void(WorkOrder&)> execute,
                         std::function<void()> on_done, Succession succeed)
    : executor_(executor),
      execute_(std::move(execute)),
      on_done_(std::move(on_done)),
      succeed_(std::move(succeed)),
      ready_(executor.NewEvent()),
      done_event_(executor.NewEvent()) {}

void OrderWorker::StartTask(std::string_view name) {
  task_ = executor_.Spawn(name, [this] { RunTask(); });
}

void OrderWorker::RunTask() {
  // A wait without a deadline returns false only where the process is to be taken for dead.
  while (ready_->WaitUntil(absl::InfiniteFuture())) {
    WorkOrder* order = nullptr;
    {
      const std::lock_guard lock(mutex_);
      if (is_closing_ && waiting_ == nullptr) return;
      order = std::exchange(waiting_, nullptr);
    }
    if (order == nullptr) continue;
    while (order != nullptr) order = RunOne(*order);
    const std::lock_guard lock(mutex_);
    if (is_closing_ && waiting_ == nullptr) return;
  }
}

// The order that follows, if one does.
WorkOrder* OrderWorker::RunOne(WorkOrder& order) {
  execute_(order);
  WorkOrder* next = nullptr;
  {
    const std::lock_guard lock(mutex_);
    const bool has_next = next_ != nullptr && !is_next_begun_ && !is_closing_;
    if (has_next && succeed_(order, *next_)) {
      is_next_begun_ = true;
      next = next_.get();
    }
    ++done_;
  }
  done_event_->Set();
  on_done_();
  return next;
}

void OrderWorker::Submit(std::unique_ptr<WorkOrder> order) {
  assert(!is_busy() && next_ == nullptr);
  if (task_ == nullptr) {
    current_ = std::move(order);
    execute_(*current_);
    done_ = 1;
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    current_ = std::move(order);
    waiting_ = current_.get();
  }
  ready_->Set();
}

void OrderWorker::Follow(std::unique_ptr<WorkOrder> order) {
  assert(can_follow());
  const std::lock_guard lock(mutex_);
  next_ = std::move(order);
}

std::unique_ptr<WorkOrder> OrderWorker::TakeBack() {
  const std::lock_guard lock(mutex_);
  return is_next_begun_ ? nullptr : std::move(next_);
}

bool OrderWorker::IsDone() const {
  const std::lock_guard lock(mutex_);
  return done_ > 0;
}

std::unique_ptr<WorkOrder> OrderWorker::Collect() {
  const std::lock_guard lock(mutex_);
  if (current_ == nullptr || done_ == 0) return nullptr;
  --done_;
  std::unique_ptr<WorkOrder> order = std::move(current_);
  if (std::exchange(is_next_begun_, false)) current_ = std::move(next_);
  return order;
}

bool OrderWorker::is_closing() const {
  const std::lock_guard lock(mutex_);
  return is_closing_;
}

bool OrderWorker::WaitUntilDone(absl::Time deadline) {
  // The event is sticky and may be left over from an order that was collected without waiting.
  while (current_ != nullptr && !IsDone()) {
    if (!done_event_->WaitUntil(deadline)) return IsDone();
  }
  return current_ != nullptr;
}

void OrderWorker::Close() {
  {
    const std::lock_guard lock(mutex_);
    is_closing_ = true;
  }
  ready_->Set();
  task_.reset();
}

}  // namespace once
