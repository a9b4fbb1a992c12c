// The mailbox between the polling thread and the worker.
#include "src/order_worker.h"

#include <cassert>
#include <utility>

namespace once {

OrderWorker::OrderWorker(Executor& executor, std::function<void(WorkOrder&)> execute,
                         std::function<void()> on_done)
    : executor_(executor),
      execute_(std::move(execute)),
      on_done_(std::move(on_done)),
      ready_(executor.NewEvent()),
      done_(executor.NewEvent()) {}

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
    execute_(*order);
    bool is_closing = false;
    {
      const std::lock_guard lock(mutex_);
      is_done_ = true;
      is_closing = is_closing_;
    }
    done_->Set();
    on_done_();
    if (is_closing) return;
  }
}

void OrderWorker::Submit(std::unique_ptr<WorkOrder> order) {
  assert(!is_busy());
  current_ = std::move(order);
  if (task_ == nullptr) {
    execute_(*current_);
    is_done_ = true;
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    waiting_ = current_.get();
    is_done_ = false;
  }
  ready_->Set();
}

bool OrderWorker::IsDone() const {
  const std::lock_guard lock(mutex_);
  return is_done_;
}

std::unique_ptr<WorkOrder> OrderWorker::Collect() {
  if (current_ == nullptr || !IsDone()) return nullptr;
  const std::lock_guard lock(mutex_);
  is_done_ = false;
  return std::move(current_);
}

bool OrderWorker::WaitUntilDone(absl::Time deadline) {
  // The event is sticky and may be left over from an order that was collected without waiting.
  while (current_ != nullptr && !IsDone()) {
    if (!done_->WaitUntil(deadline)) return IsDone();
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
