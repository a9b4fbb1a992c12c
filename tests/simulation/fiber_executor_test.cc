// Virtual time, waits, ghosts and stalls.
#include "once/testing/fiber_executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace once::testing {
namespace {

using End = FiberScheduler::End;
using ::testing::ElementsAre;

// Answers 0, and what it was told to answer to some questions.
class ScriptedOracle : public Oracle {
 public:
  explicit ScriptedOracle(std::vector<int> answers = {})
      : Oracle({.faults = 100, .preemptions = 100}), answers_(std::move(answers)) {}

 protected:
  int Pick(std::string_view, int choices, Cost) override {
    if (next_ >= answers_.size()) return 0;
    return std::min(answers_[next_++], choices - 1);
  }

 private:
  std::vector<int> answers_;
  std::size_t next_ = 0;
};

class FiberExecutorTest : public ::testing::TestWithParam<FiberKind> {
 protected:
  ScriptedOracle oracle_;
  FiberScheduler scheduler_{oracle_, GetParam()};
  std::vector<std::string> log_;
};

TEST_P(FiberExecutorTest, TimeStandsStillWhileAnythingCanRunAndJumpsToTheNextDeadline) {
  const auto process = scheduler_.NewProcess("p");
  const absl::Time begin = process->Now();
  std::vector<absl::Duration> woken;
  for (const int seconds : {3, 1, 2}) {
    scheduler_.Spawn("sleeper", process, [&, seconds] {
      const auto event = process->NewEvent();
      EXPECT_FALSE(event->WaitUntil(process->Now() + absl::Seconds(seconds)));
      woken.push_back(process->Now() - begin);
    });
  }
  scheduler_.Spawn("worker", process, [&] {
    for (int i = 0; i < 100; ++i) scheduler_.Yield();
    EXPECT_EQ(process->Now(), begin);
  });
  EXPECT_EQ(scheduler_.Run(), End::kFinished);
  EXPECT_THAT(woken, ElementsAre(absl::Seconds(1), absl::Seconds(2), absl::Seconds(3)));
}

TEST_P(FiberExecutorTest, AnEventIsStickyAndASuccessfulWaitClearsIt) {
  const auto process = scheduler_.NewProcess("p");
  scheduler_.Spawn("main", process, [&] {
    const auto event = process->NewEvent();
    event->Set();
    event->Set();
    EXPECT_TRUE(event->WaitUntil(absl::InfiniteFuture()));
    EXPECT_FALSE(event->WaitUntil(process->Now()));
    EXPECT_FALSE(event->WaitUntil(process->Now() + absl::Seconds(1)));
    const auto setter = process->Spawn("setter", [&] { event->Set(); });
    EXPECT_TRUE(event->WaitUntil(absl::InfiniteFuture()));
  });
  EXPECT_EQ(scheduler_.Run(), End::kFinished);
}

TEST_P(FiberExecutorTest, ATaskIsJoinedByItsDestructor) {
  const auto process = scheduler_.NewProcess("p");
  scheduler_.Spawn("main", process, [&] {
    auto task = process->Spawn("task", [&] {
      scheduler_.SleepUntil(process->Now() + absl::Seconds(1));
      log_.push_back("task");
    });
    log_.push_back("join");
    task.reset();
    log_.push_back("joined");
  });
  EXPECT_EQ(scheduler_.Run(), End::kFinished);
  EXPECT_THAT(log_, ElementsAre("join", "task", "joined"));
}

TEST_P(FiberExecutorTest, AGhostsWaitsReturnAtOnceAndItsCodeRunsToItsEnd) {
  const auto process = scheduler_.NewProcess("doomed");
  const absl::Time begin = scheduler_.Now();
  scheduler_.Spawn("main", process, [&] {
    const auto event = process->NewEvent();
    const auto task = process->Spawn("task", [&] {
      EXPECT_FALSE(event->WaitUntil(absl::InfiniteFuture()));
      log_.push_back("task ends");
    });
    process->OnKill([&] { log_.push_back("killed"); });
    scheduler_.Yield();
    scheduler_.Kill(*process);
    EXPECT_TRUE(process->is_dead());
    EXPECT_FALSE(event->WaitUntil(process->Now() + absl::Hours(1)));
    log_.push_back("main ends");
  });
  EXPECT_EQ(scheduler_.Run(), End::kFinished);
  EXPECT_EQ(scheduler_.Now(), begin);
  EXPECT_EQ(log_.front(), "killed");
  EXPECT_THAT(log_, ::testing::UnorderedElementsAre("killed", "task ends", "main ends"));
}

TEST_P(FiberExecutorTest, AGhostThatNeverEndsIsReported) {
  const auto process = scheduler_.NewProcess("stubborn");
  bool is_enough = false;
  scheduler_.Spawn("main", process, [&] {
    const auto event = process->NewEvent();
    scheduler_.Kill(*process);
    while (!is_enough) event->WaitUntil(absl::InfiniteFuture());
  });
  EXPECT_EQ(scheduler_.Run(), End::kLivelock);
  is_enough = true;
  while (scheduler_.Run() == End::kLivelock) {
    // Its waits have been counted; it needs one more turn to see that it is enough.
    process->ForgetGhostWaits();
  }
}

TEST_P(FiberExecutorTest, WaitingForEverIsADeadlock) {
  const auto process = scheduler_.NewProcess("p");
  scheduler_.Spawn("main", process,
                   [&] { process->NewEvent()->WaitUntil(absl::InfiniteFuture()); });
  EXPECT_EQ(scheduler_.Run(), End::kDeadlock);
  scheduler_.Kill(*process);
  EXPECT_EQ(scheduler_.Run(), End::kFinished);
}

TEST_P(FiberExecutorTest, AStalledProcessSleepsAndGoesOnByItselfOrWhenWoken) {
  const auto zombie = scheduler_.NewProcess("zombie");
  const auto other = scheduler_.NewProcess("other");
  scheduler_.Spawn("zombie", zombie, [&] {
    scheduler_.Stall(*zombie, absl::Seconds(5));
    log_.push_back("zombie wakes");
    scheduler_.Stall(*zombie, absl::Seconds(5));
    log_.push_back("zombie wakes by itself");
  });
  scheduler_.Spawn("other", other, [&] {
    EXPECT_EQ(scheduler_.stalled_process(), zombie.get());
    log_.push_back("other");
    scheduler_.Wake(*zombie);
    log_.push_back("other again");
  });
  EXPECT_EQ(scheduler_.Run(), End::kFinished);
  EXPECT_THAT(log_, ElementsAre("other", "zombie wakes", "other again", "zombie wakes by itself"));
}

TEST_P(FiberExecutorTest, APreemptionIsTheOraclesChoice) {
  for (const bool is_preempted : {false, true}) {
    // "next" for the first fibre, then the question at the seam.
    ScriptedOracle oracle({0, is_preempted ? 1 : 0});
    FiberScheduler scheduler(oracle, GetParam());
    std::string order;
    scheduler.Spawn("a", nullptr, [&] {
      order += "a";
      scheduler.Preempt();
      order += "a";
    });
    scheduler.Spawn("b", nullptr, [&] { order += "b"; });
    EXPECT_EQ(scheduler.Run(), End::kFinished);
    EXPECT_EQ(order, is_preempted ? "aba" : "aab");
  }
}

// A switch inside `catch` must not hand one fibre's exception to another.
TEST_P(FiberExecutorTest, ExceptionsStayWithTheirFibre) {
  const auto process = scheduler_.NewProcess("p");
  for (const char* name : {"one", "two", "three"}) {
    scheduler_.Spawn(name, process, [&, name] {
      for (int i = 0; i < 10; ++i) {
        try {
          throw std::runtime_error(name);
        } catch (const std::exception& outer) {
          scheduler_.Yield();
          try {
            throw;
          } catch (const std::exception& again) {
            scheduler_.Yield();
            EXPECT_STREQ(again.what(), name);
            EXPECT_STREQ(outer.what(), name);
          }
        }
      }
      EXPECT_EQ(std::uncaught_exceptions(), 0);
    });
  }
  EXPECT_EQ(scheduler_.Run(), End::kFinished);
}

TEST_P(FiberExecutorTest, TimersRunInOrderAndOutsideOfFibres) {
  scheduler_.At(scheduler_.Now() + absl::Seconds(2), [&] { log_.push_back("two"); });
  scheduler_.At(scheduler_.Now() + absl::Seconds(1), [&] {
    EXPECT_FALSE(scheduler_.is_inside_fiber());
    log_.push_back("one");
  });
  scheduler_.Spawn("main", nullptr, [&] {
    scheduler_.SleepUntil(scheduler_.Now() + absl::Seconds(3));
    log_.push_back("three");
  });
  EXPECT_EQ(scheduler_.Run(), End::kFinished);
  EXPECT_THAT(log_, ElementsAre("one", "two", "three"));
}

INSTANTIATE_TEST_SUITE_P(Simulator, FiberExecutorTest,
                         ::testing::Values(FiberKind::kStack, FiberKind::kThread),
                         [](const ::testing::TestParamInfo<FiberKind>& kind) {
                           return kind.param == FiberKind::kStack ? "Stacks" : "Threads";
                         });

}  // namespace
}  // namespace once::testing
