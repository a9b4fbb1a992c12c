// OrderWorker: orders run inline without a task and on the task with one, and none is lost.
#include "src/order_worker.h"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <thread>

#include "tests/unit/manual_executor.h"

namespace once {
namespace {

std::unique_ptr<WorkOrder> SomeOrder() { return std::make_unique<WorkOrder>(); }

TEST(OrderWorker, WithoutATaskAnOrderHasRunWhenSubmitReturns) {
  ManualExecutor executor;
  int runs = 0;
  int ends = 0;
  OrderWorker worker(
      executor, [&](WorkOrder&) { ++runs; }, [&] { ++ends; });
  EXPECT_FALSE(worker.is_busy());
  worker.Submit(SomeOrder());
  EXPECT_EQ(runs, 1);
  EXPECT_TRUE(worker.is_busy());
  EXPECT_TRUE(worker.WaitUntilDone(absl::InfinitePast()));
  EXPECT_NE(worker.Collect(), nullptr);
  EXPECT_FALSE(worker.is_busy());
  EXPECT_EQ(ends, 0) << "nobody else has to be woken";
}

TEST(OrderWorker, AnOrderIsCollectedOnce) {
  ManualExecutor executor;
  OrderWorker worker(
      executor, [](WorkOrder&) {}, [] {});
  EXPECT_EQ(worker.Collect(), nullptr);
  auto order = SomeOrder();
  const WorkOrder* const submitted = order.get();
  worker.Submit(std::move(order));
  EXPECT_EQ(worker.current(), submitted);
  EXPECT_EQ(worker.Collect().get(), submitted);
  EXPECT_EQ(worker.Collect(), nullptr);
  EXPECT_EQ(worker.current(), nullptr);
}

TEST(OrderWorker, WithNothingSubmittedThereIsNothingToWaitFor) {
  ManualExecutor executor;
  OrderWorker worker(
      executor, [](WorkOrder&) {}, [] {});
  EXPECT_FALSE(worker.WaitUntilDone(absl::InfiniteFuture()));
}

TEST(OrderWorker, WithATaskAnOrderRunsThereAndItsEndIsAnnounced) {
  const auto executor = SystemExecutor();
  std::thread::id ran_on;
  std::promise<void> announced;
  OrderWorker worker(
      *executor, [&](WorkOrder&) { ran_on = std::this_thread::get_id(); },
      [&] { announced.set_value(); });
  worker.StartTask("test");
  worker.Submit(SomeOrder());
  EXPECT_TRUE(worker.WaitUntilDone(absl::InfiniteFuture()));
  announced.get_future().wait();
  EXPECT_NE(worker.Collect(), nullptr);
  EXPECT_NE(ran_on, std::this_thread::get_id());
}

TEST(OrderWorker, ARunningOrderIsNotCollectedAndItsFlagsAreShared) {
  const auto executor = SystemExecutor();
  std::promise<void> entered;
  std::promise<void> let_go;
  bool was_doomed = false;
  OrderWorker worker(
      *executor,
      [&](WorkOrder& order) {
        entered.set_value();
        let_go.get_future().wait();
        was_doomed = order.doomed;
      },
      [] {});
  worker.StartTask("test");
  worker.Submit(SomeOrder());
  entered.get_future().wait();
  EXPECT_EQ(worker.Collect(), nullptr);
  EXPECT_FALSE(worker.WaitUntilDone(executor->Now()));
  worker.current()->doomed = true;
  let_go.set_value();
  EXPECT_TRUE(worker.WaitUntilDone(absl::InfiniteFuture()));
  EXPECT_NE(worker.Collect(), nullptr);
  EXPECT_TRUE(was_doomed);
}

TEST(OrderWorker, ManyOrdersOneAfterTheOtherAreAllRun) {
  const auto executor = SystemExecutor();
  int runs = 0;
  OrderWorker worker(
      *executor, [&](WorkOrder&) { ++runs; }, [] {});
  worker.StartTask("test");
  for (int i = 0; i < 1000; ++i) {
    worker.Submit(SomeOrder());
    ASSERT_TRUE(worker.WaitUntilDone(absl::InfiniteFuture()));
    ASSERT_NE(worker.Collect(), nullptr);
  }
  EXPECT_EQ(runs, 1000);
}

TEST(OrderWorker, AnEventLeftOverFromACollectedOrderDoesNotAnnounceTheNext) {
  const auto executor = SystemExecutor();
  std::promise<void> let_go;
  const std::shared_future<void> opened = let_go.get_future().share();
  int runs = 0;
  OrderWorker worker(
      *executor,
      [&](WorkOrder&) {
        if (++runs == 2) opened.wait();
      },
      [] {});
  worker.StartTask("test");
  worker.Submit(SomeOrder());
  while (worker.Collect() == nullptr) std::this_thread::yield();  // without a wait for the event
  worker.Submit(SomeOrder());
  EXPECT_FALSE(worker.WaitUntilDone(executor->Now() + absl::Milliseconds(1)));
  let_go.set_value();
  EXPECT_TRUE(worker.WaitUntilDone(absl::InfiniteFuture()));
}

TEST(OrderWorker, CloseRunsWhatWasSubmittedBeforeItAndLaterOrdersRunInline) {
  const auto executor = SystemExecutor();
  int runs = 0;
  OrderWorker worker(
      *executor, [&](WorkOrder&) { ++runs; }, [] {});
  worker.StartTask("test");
  worker.Submit(SomeOrder());
  worker.Close();
  EXPECT_EQ(runs, 1);
  EXPECT_NE(worker.Collect(), nullptr);
  worker.Submit(SomeOrder());
  EXPECT_EQ(runs, 2);
  EXPECT_NE(worker.Collect(), nullptr);
}

TEST(OrderWorker, MayGoWithoutHavingBeenUsed) {
  const auto executor = SystemExecutor();
  {
    OrderWorker worker(
        *executor, [](WorkOrder&) {}, [] {});
  }
  OrderWorker worker(
      *executor, [](WorkOrder&) {}, [] {});
  worker.StartTask("test");
}

}  // namespace
}  // namespace once
