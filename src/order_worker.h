// OrderWorker runs work orders one at a time: on a task of the executor in Run(), or on the
// caller's thread in Step(). The polling thread submits and collects; it never blocks on a running
// handler longer than it asks to. On a task one order may follow another without a word from the
// polling thread in between.
//
// Thread-safety: all calls from the polling thread. What it may use of an order that runs says
// WorkOrder.
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
  // Whether `next` may follow `ended`, with what it needs to know of it filled in.
  using Succession = std::function<bool(const WorkOrder& ended, WorkOrder& next)>;

  // `execute` runs on the worker; `on_done`, called after it on the same thread, must be
  // thread-safe. `succeed` is called there too, between two orders, and must be quick; without it
  // no order can follow another.
  OrderWorker(Executor& executor, std::function<void(WorkOrder&)> execute,
              std::function<void()> on_done, Succession succeed = nullptr);
  ~OrderWorker() { Close(); }

  // From now on orders run on a task of their own.
  void StartTask(std::string_view name);

  // An order was submitted and its result not collected.
  bool is_busy() const { return current_ != nullptr; }
  // The order that is_busy() speaks of, for its flags and its scope; never for its results.
  WorkOrder* current() const { return current_.get(); }

  // REQUIRES: !is_busy(), and what was to follow was taken back. Without a task the order has run
  // when this returns.
  void Submit(std::unique_ptr<WorkOrder> order);

  bool can_follow() const {
    return task_ != nullptr && succeed_ != nullptr && current_ != nullptr && next_ == nullptr;
  }
  bool has_next() const { return next_ != nullptr; }
  // The order begins when the current one ends, if it may; else, or if that is over, it is to be
  // taken back. REQUIRES: can_follow().
  void Follow(std::unique_ptr<WorkOrder> order);
  // What was to follow and has not begun, which now it will not; else null.
  std::unique_ptr<WorkOrder> TakeBack();

  // The current order, once it has run; else null. What follows it is current then; what was to
  // follow and may not is to be taken back.
  std::unique_ptr<WorkOrder> Collect();

  // True as soon as Collect() would return an order; false at the deadline.
  bool WaitUntilDone(absl::Time deadline);

  // Ends the task, after the order it runs. Later orders run inline.
  void Close();

  bool has_task() const { return task_ != nullptr; }
  // Thread-safe.
  bool is_closing() const;

 private:
  void RunTask();
  WorkOrder* RunOne(WorkOrder& order);
  bool IsDone() const;

  Executor& executor_;
  const std::function<void(WorkOrder&)> execute_;
  const std::function<void()> on_done_;
  const Succession succeed_;
  std::unique_ptr<Event> ready_;
  std::unique_ptr<Event> done_event_;

  mutable std::mutex mutex_;      // never held while an order runs or an event is waited for
  WorkOrder* waiting_ = nullptr;  // submitted and not begun
  int done_ = 0;                  // how many of the current order and the next have run
  bool is_next_begun_ = false;
  bool is_closing_ = false;
  // Changed by the polling thread, with the mutex; the worker looks at the next one, with it.
  std::unique_ptr<WorkOrder> current_;
  std::unique_ptr<WorkOrder> next_;

  std::unique_ptr<Task> task_;  // last: joined before anything else goes
};

}  // namespace once
