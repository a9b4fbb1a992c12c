// OrderWorker: orders run inline without a task and on the task with one, and none is lost.
#include "src/order_worker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <semaphore>
#include <thread>
#include <utility>

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

// A worker whose orders wait until they are let go, one after the other.
class OrdersInARow : public ::testing::Test {
 protected:
  OrdersInARow()
      : executor_(SystemExecutor()),
        worker_(
            *executor_, [this](WorkOrder& order) { Run(order); }, [] {},
            [this](const WorkOrder& ended, WorkOrder&) {
              asked_of_ = &ended;
              return may_follow_.load();
            }) {
    worker_.StartTask("test");
  }
  ~OrdersInARow() override {
    LetGo(100);
    worker_.Close();
  }

  void LetGo(int orders) { let_go_.release(orders); }
  const WorkOrder* Submit() {
    worker_.Submit(SomeOrder());
    begun_.acquire();
    return worker_.current();
  }
  const WorkOrder* Follow() {
    auto order = SomeOrder();
    const WorkOrder* const next = order.get();
    worker_.Follow(std::move(order));
    return next;
  }

  const std::shared_ptr<Executor> executor_;
  std::counting_semaphore<> begun_{0};
  std::counting_semaphore<> let_go_{0};
  std::atomic<int> runs_ = 0;
  std::atomic<bool> may_follow_ = true;
  std::atomic<const WorkOrder*> asked_of_ = nullptr;
  OrderWorker worker_;  // last: its task uses the others

 private:
  void Run(WorkOrder&) {
    begun_.release();
    let_go_.acquire();
    ++runs_;
  }
};

TEST_F(OrdersInARow, OneFollowsTheOtherBeforeThatIsCollected) {
  const WorkOrder* const first = Submit();
  ASSERT_TRUE(worker_.can_follow());
  const WorkOrder* const second = Follow();
  EXPECT_FALSE(worker_.can_follow()) << "one at a time";
  LetGo(1);
  begun_.acquire();  // the second
  EXPECT_EQ(worker_.TakeBack(), nullptr) << "it has begun";
  EXPECT_EQ(asked_of_, first);
  EXPECT_EQ(worker_.Collect().get(), first);
  EXPECT_EQ(worker_.current(), second);
  EXPECT_EQ(worker_.Collect(), nullptr) << "it runs";
  LetGo(1);
  EXPECT_TRUE(worker_.WaitUntilDone(absl::InfiniteFuture()));
  EXPECT_EQ(worker_.Collect().get(), second);
  EXPECT_FALSE(worker_.is_busy());
}

TEST_F(OrdersInARow, BothMayHaveRunBeforeTheFirstIsCollected) {
  const WorkOrder* const first = Submit();
  const WorkOrder* const second = Follow();
  LetGo(2);
  while (runs_ < 2) std::this_thread::yield();
  EXPECT_EQ(worker_.Collect().get(), first);
  EXPECT_TRUE(worker_.WaitUntilDone(absl::InfiniteFuture()));
  EXPECT_EQ(worker_.Collect().get(), second);
  EXPECT_EQ(worker_.Collect(), nullptr);
}

TEST_F(OrdersInARow, WhatMayNotFollowIsTakenBackUnrun) {
  may_follow_ = false;
  const WorkOrder* const first = Submit();
  const WorkOrder* const second = Follow();
  LetGo(1);
  ASSERT_TRUE(worker_.WaitUntilDone(absl::InfiniteFuture()));
  EXPECT_EQ(worker_.Collect().get(), first);
  EXPECT_FALSE(worker_.is_busy());
  EXPECT_EQ(worker_.TakeBack().get(), second);
  EXPECT_EQ(runs_, 1);
}

TEST_F(OrdersInARow, WhatIsTakenBackInTimeDoesNotFollow) {
  Submit();
  const WorkOrder* const second = Follow();
  EXPECT_EQ(worker_.TakeBack().get(), second);
  LetGo(1);
  ASSERT_TRUE(worker_.WaitUntilDone(absl::InfiniteFuture()));
  EXPECT_NE(worker_.Collect(), nullptr);
  EXPECT_EQ(asked_of_, nullptr);
  EXPECT_EQ(runs_, 1);
}

TEST_F(OrdersInARow, WhatComesAfterTheEndIsTakenBack) {
  Submit();
  LetGo(1);
  ASSERT_TRUE(worker_.WaitUntilDone(absl::InfiniteFuture()));
  const WorkOrder* const second = Follow();
  EXPECT_NE(worker_.Collect(), nullptr);
  EXPECT_EQ(worker_.TakeBack().get(), second);
  EXPECT_EQ(runs_, 1);
}

// The worker may be quicker than whoever closes it: then it follows as ever.
TEST_F(OrdersInARow, WhatDoesNotFollowAClosedWorkersLastOrderIsTakenBack) {
  Submit();
  const WorkOrder* const second = Follow();
  LetGo(2);
  worker_.Close();
  EXPECT_NE(worker_.Collect(), nullptr);
  const bool has_followed = runs_ == 2;
  const std::unique_ptr<WorkOrder> taken_back = worker_.TakeBack();
  EXPECT_EQ(has_followed, taken_back == nullptr);
  const std::unique_ptr<WorkOrder> collected = worker_.Collect();
  EXPECT_EQ(has_followed ? collected.get() : taken_back.get(), second);
}

TEST(OrderWorker, NothingFollowsTheOrderDuringWhichItIsClosed) {
  const auto executor = SystemExecutor();
  std::promise<void> entered;
  std::promise<void> let_go;
  std::atomic<bool> is_asked = false;
  OrderWorker worker(
      *executor,
      [&](WorkOrder&) {
        entered.set_value();
        let_go.get_future().wait();
      },
      [] {},
      [&](const WorkOrder&, WorkOrder&) {
        is_asked = true;
        return true;
      });
  worker.StartTask("test");
  worker.Submit(SomeOrder());
  worker.Follow(SomeOrder());
  entered.get_future().wait();
  std::thread closing([&] { worker.Close(); });
  while (!worker.is_closing()) std::this_thread::yield();
  let_go.set_value();
  closing.join();
  EXPECT_FALSE(is_asked);
  EXPECT_NE(worker.Collect(), nullptr);
  EXPECT_NE(worker.TakeBack(), nullptr);
}

TEST_F(OrdersInARow, ManyFollowOneAnother) {
  LetGo(1000);
  worker_.Submit(SomeOrder());
  int collected = 0;
  for (int orders = 1; orders < 1000 || worker_.is_busy();) {
    std::unique_ptr<WorkOrder> refused;
    if (orders < 1000 && worker_.can_follow()) {
      worker_.Follow(SomeOrder());
      ++orders;
    }
    ASSERT_TRUE(worker_.WaitUntilDone(absl::InfiniteFuture()));
    ASSERT_NE(worker_.Collect(), nullptr);
    ++collected;
    refused = worker_.TakeBack();
    if (refused != nullptr) worker_.Submit(std::move(refused));
  }
  EXPECT_EQ(collected, 1000);
  EXPECT_EQ(runs_, 1000);
}

TEST(OrderWorker, WithoutATaskNothingFollows) {
  ManualExecutor executor;
  OrderWorker worker(
      executor, [](WorkOrder&) {}, [] {}, [](const WorkOrder&, WorkOrder&) { return true; });
  worker.Submit(SomeOrder());
  EXPECT_FALSE(worker.can_follow());
}

}  // namespace
}  // namespace once
