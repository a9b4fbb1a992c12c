// RunEveryCrash over a real Redis server: the engine, a plain handler and the store through every
// crash point. The server's clock is led by the simulated one, so that leases end.
#include "once/testing/crash_test.h"

#include <map>
#include <string>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/redis/tests/redis_server.h"
#include "once/redis/store.h"

namespace once::redis {
namespace {

using ::once::testing::CrashReport;
using ::once::testing::CrashTest;
using ::once::testing::CrashWorld;
using ::once::testing::RunEveryCrash;

// A payment service that pays once per idempotency key.
struct Bank {
  std::map<std::string, std::string> paid;  // id by key

  absl::Status Pay(const Message& message) {
    paid[message.idempotency_key()] = std::string(message.id());
    return absl::OkStatus();
  }
};

TEST(RedisCrash, APlainHandlerThatPassesTheKeyOnSurvivesEveryCrash) {
  Bank bank;
  std::string prefix;
  const CrashTest test = {
      .open_store =
          [&prefix](const CrashWorld& world) -> absl::StatusOr<std::shared_ptr<DedupStore>> {
        return OpenStore({.url = testing::SharedServer().url(),
                          .key_prefix = prefix,
                          .clock_skew = [now = world.now] { return now() - absl::Now(); }});
      },
      .reset =
          [&](const CrashWorld&) {
            bank = {};
            prefix = testing::NewPrefix();
            return absl::OkStatus();
          },
      .messages = {{.id = "a", .value = "1"}, {.id = "b", .value = "2"}, {.id = "a", .value = "1"}},
      .handler = [&bank](const Message& message) { return bank.Pay(message); },
      .check = [&bank](const CrashWorld&) -> absl::Status {
        std::string all;
        for (const auto& [key, id] : bank.paid) absl::StrAppend(&all, id, ";");
        if (bank.paid.size() == 2) return absl::OkStatus();
        return absl::InternalError("paid: " + all);
      },
      .pairs_max = 0};
  const CrashReport report = RunEveryCrash(test);
  EXPECT_TRUE(report.ok()) << report;
  EXPECT_GT(report.singles, 50) << report;
  EXPECT_GT(report.announced_repeats, 0) << report;
}

}  // namespace
}  // namespace once::redis
