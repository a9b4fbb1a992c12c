// OrderWorker runs work orders one at a time: on a task of the executor in Run(), or on the
// caller's thread in Step(). The polling thread submits and collects; it never blocks on a running
// handler longer than it asks to.
//
// Thread-safety: all calls from the polling thread. Only the flags of WorkOrder are shared with the
// worker while an order runs.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string_view>

#include "absl/time/time.h"
#include "once/executor.h"
#include "src/work_order.h"

namespace once {

class OrderWorker {
 public:
  // `execute` runs on the worker; `on_done`, called after it on the same thread, must be
  // thread-safe.
  OrderWorker(Executor& executor, std::function<void(WorkOrder&)> execute,
              std::function<void()> on_done);
  ~OrderWorker() { Close(); }

  // From now on orders run on a task of their own.
  void StartTask(std::string_view name);

  // An order was submitted and its result not collected.
  bool is_busy() const { return current_ != nullptr; }
  // The order that is_busy() speaks of, for its flags and its scope; never for its results.
  WorkOrder* current() const { return current_.get(); }

  // REQUIRES: !is_busy(). Without a task the order has run when this returns.
  void Submit(std::unique_ptr<WorkOrder> order);

  // The order, once it has run; else null.
  std::unique_ptr<WorkOrder> Collect();

  // True as soon as Collect() would return an order; false at the deadline.
  bool WaitUntilDone(absl::Time deadline);

  // Ends the task, after the order it runs. Later orders run inline.
  void Close();

  bool has_task() const { return task_ != nullptr; }

 private:
  void RunTask();
  bool IsDone() const;

  Executor& executor_;
  const std::function<void(WorkOrder&)> execute_;
  const std::function<void()> on_done_;
  std::unique_ptr<Event> ready_;
  std::unique_ptr<Event> done_;

  mutable std::mutex mutex_;      // never held while an order runs or an event is waited for
  WorkOrder* waiting_ = nullptr;  // submitted and not begun
  bool is_done_ = false;          // the current order has run
  bool is_closing_ = false;

  std::unique_ptr<WorkOrder> current_;  // polling thread
  std::unique_ptr<Task> task_;          // last: joined before anything else goes
};

}  // namespace once
