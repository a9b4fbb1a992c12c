// One at a time, in order, and not for ever.
#include "src/stores/turnstile.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace once::stores {
namespace {

TEST(Turnstile, LetsOneThroughAtATime) {
  Turnstile turnstile;
  ASSERT_TRUE(turnstile.Enter(absl::ZeroDuration()));
  EXPECT_FALSE(turnstile.Enter(absl::Milliseconds(1)));
  EXPECT_EQ(turnstile.CountWaiting(), 0u);
  turnstile.Leave();
  EXPECT_TRUE(turnstile.Enter(absl::ZeroDuration()));
}

TEST(Turnstile, WhoeverComesBackAtOnceQueuesBehindTheOneWhoWaits) {
  Turnstile turnstile;
  ASSERT_TRUE(turnstile.Enter(absl::ZeroDuration()));
  std::atomic<bool> has_passed = false;
  std::thread waiting([&] {
    ASSERT_TRUE(turnstile.Enter(absl::Seconds(30)));
    has_passed = true;
    turnstile.Leave();
  });
  while (turnstile.CountWaiting() == 0) std::this_thread::yield();
  turnstile.Leave();
  ASSERT_TRUE(turnstile.Enter(absl::Seconds(30)));
  EXPECT_TRUE(has_passed);
  waiting.join();
}

}  // namespace
}  // namespace once::stores
