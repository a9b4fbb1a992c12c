// The production executor: sticky events, tasks that are joined, a random source that does not
// repeat itself.
#include "once/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <set>
#include <thread>

namespace once {
namespace {

class SystemExecutorTest : public ::testing::Test {
 protected:
  absl::Time Soon() { return executor_->Now() + absl::Milliseconds(1); }

  const std::shared_ptr<Executor> executor_ = SystemExecutor();
};

TEST_F(SystemExecutorTest, AnEventSetBeforeTheWaitIsNotLost) {
  const auto event = executor_->NewEvent();
  event->Set();
  EXPECT_TRUE(event->WaitUntil(absl::InfiniteFuture()));
}

TEST_F(SystemExecutorTest, ASuccessfulWaitClearsTheEvent) {
  const auto event = executor_->NewEvent();
  event->Set();
  EXPECT_TRUE(event->WaitUntil(Soon()));
  EXPECT_FALSE(event->WaitUntil(Soon()));
}

TEST_F(SystemExecutorTest, SettingItTwiceIsSettingItOnce) {
  const auto event = executor_->NewEvent();
  event->Set();
  event->Set();
  EXPECT_TRUE(event->WaitUntil(Soon()));
  EXPECT_FALSE(event->WaitUntil(Soon()));
}

TEST_F(SystemExecutorTest, AWaitEndsAtItsDeadlineAndNotBefore) {
  const auto event = executor_->NewEvent();
  const absl::Time deadline = executor_->Now() + absl::Milliseconds(5);
  EXPECT_FALSE(event->WaitUntil(deadline));
  EXPECT_GE(executor_->Now(), deadline);
}

TEST_F(SystemExecutorTest, ADeadlineThatHasPassedEndsTheWaitAtOnce) {
  const auto event = executor_->NewEvent();
  EXPECT_FALSE(event->WaitUntil(absl::InfinitePast()));
  EXPECT_FALSE(event->WaitUntil(absl::UnixEpoch()));
  event->Set();
  EXPECT_TRUE(event->WaitUntil(absl::InfinitePast()));
}

TEST_F(SystemExecutorTest, AnotherThreadsSetEndsTheWait) {
  const auto event = executor_->NewEvent();
  const auto task = executor_->Spawn("setter", [&] { event->Set(); });
  EXPECT_TRUE(event->WaitUntil(absl::InfiniteFuture()));
}

TEST_F(SystemExecutorTest, AFarDeadlineIsNoTimeout) {
  const auto event = executor_->NewEvent();
  const auto task = executor_->Spawn("setter", [&] { event->Set(); });
  EXPECT_TRUE(event->WaitUntil(executor_->Now() + absl::Hours(24 * 365 * 1000)));
}

TEST_F(SystemExecutorTest, TheEndOfATaskIsWaitedFor) {
  std::atomic<bool> is_done = false;
  const auto gate = executor_->NewEvent();
  {
    const auto task = executor_->Spawn("a name that is longer than Linux allows", [&] {
      gate->WaitUntil(absl::InfiniteFuture());
      is_done = true;
    });
    gate->Set();
  }
  EXPECT_TRUE(is_done);
}

TEST_F(SystemExecutorTest, ATaskRunsOnAThreadOfItsOwn) {
  std::thread::id inside;
  {
    const auto task = executor_->Spawn("x", [&] { inside = std::this_thread::get_id(); });
  }
  EXPECT_NE(inside, std::this_thread::get_id());
}

TEST_F(SystemExecutorTest, ManySetsAndWaitsLoseNothing) {
  constexpr int kRounds = 10'000;
  const auto ping = executor_->NewEvent();
  const auto pong = executor_->NewEvent();
  const auto task = executor_->Spawn("pong", [&] {
    for (int i = 0; i < kRounds; ++i) {
      ping->WaitUntil(absl::InfiniteFuture());
      pong->Set();
    }
  });
  for (int i = 0; i < kRounds; ++i) {
    ping->Set();
    ASSERT_TRUE(pong->WaitUntil(absl::InfiniteFuture()));
  }
}

TEST(SystemRandom, DoesNotRepeatItself) {
  const auto one = SystemRandom();
  const auto other = SystemRandom();
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(seen.insert(one->Next()).second);
    EXPECT_TRUE(seen.insert(other->Next()).second);
  }
}

}  // namespace
}  // namespace once
