// Work beside its giver: on threads, on fibres, and in a process that dies.
#include "src/side_task.h"

#include <gtest/gtest.h>

#include <memory>

#include "once/testing/fiber_executor.h"
#include "once/testing/oracle.h"

namespace once {
namespace {

TEST(SideTask, DoesOnePieceOfWorkAfterAnother) {
  const std::shared_ptr<Executor> executor = SystemExecutor();
  SideTask side(*executor, "side");
  int sum = 0;
  for (int i = 1; i <= 100; ++i) {
    EXPECT_FALSE(side.is_busy());
    side.Start([&sum, i] { sum += i; });
    EXPECT_TRUE(side.is_busy());
    while (!side.WaitUntil(executor->Now() + absl::Seconds(10))) {
    }
    EXPECT_TRUE(side.is_done());
    side.End();
  }
  EXPECT_EQ(sum, 5050);
}

TEST(SideTask, EndsOnlyAfterTheWorkItHas) {
  const std::shared_ptr<Executor> executor = SystemExecutor();
  for (int i = 0; i < 100; ++i) {
    bool is_worked = false;
    {
      SideTask side(*executor, "side");
      side.Start([&is_worked] { is_worked = true; });
    }
    EXPECT_TRUE(is_worked);
  }
}

TEST(SideTask, AWaitEndsAtItsDeadlineWhileTheWorkGoesOn) {
  testing::SeededOracle oracle(1, {}, {.fault = 0, .preemption = 0});
  testing::FiberScheduler scheduler(oracle);
  const std::shared_ptr<testing::Process> process = scheduler.NewProcess("one");
  scheduler.Spawn("main", process, [&] {
    SideTask side(*process, "side");
    const absl::Time begun = process->Now();
    side.Start([&] { scheduler.SleepUntil(begun + absl::Seconds(2)); });
    EXPECT_FALSE(side.WaitUntil(begun + absl::Seconds(1)));
    EXPECT_EQ(process->Now(), begun + absl::Seconds(1));
    EXPECT_TRUE(side.WaitUntil(begun + absl::Seconds(5)));
    EXPECT_EQ(process->Now(), begun + absl::Seconds(2));
    side.End();
  });
  EXPECT_EQ(scheduler.Run(), testing::FiberScheduler::End::kFinished);
}

TEST(SideTask, InADeadProcessWorkIsDoneAllTheSame) {
  testing::SeededOracle oracle(1, {}, {.fault = 0, .preemption = 0});
  testing::FiberScheduler scheduler(oracle);
  const std::shared_ptr<testing::Process> process = scheduler.NewProcess("one");
  int worked = 0;
  scheduler.Spawn("main", process, [&] {
    SideTask side(*process, "side");
    side.Start([&] {
      scheduler.SleepUntil(process->Now() + absl::Seconds(2));
      ++worked;
    });
    scheduler.SleepUntil(process->Now() + absl::Seconds(1));
    scheduler.Kill(*process);
    for (int i = 0; i < 100 && !side.is_done(); ++i) side.WaitUntil(absl::InfiniteFuture());
    ASSERT_TRUE(side.is_done());
    side.End();
    side.Start([&] { ++worked; });
    for (int i = 0; i < 100 && !side.is_done(); ++i) side.WaitUntil(absl::InfiniteFuture());
    EXPECT_TRUE(side.is_done());
  });
  EXPECT_EQ(scheduler.Run(), testing::FiberScheduler::End::kFinished);
  EXPECT_EQ(worked, 2);
}

}  // namespace
}  // namespace once
