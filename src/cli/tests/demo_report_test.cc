// What the demonstration prints: the JSON object's members, and the words for people.
#include "src/cli/demo_report.h"

#include <string>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace once::demo {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

DemoResult SomeResult() {
  DemoResult result;
  result.plan = PlanOrders({.messages = 1'000});
  result.run = {.is_embedded = true,
                .brokers = "127.0.0.1:1",
                .dead_letter_topic = "orders.demo.dlq",
                .kills_wanted = 3,
                .kills = {.kills = 4,
                          .mid_batch = 3,
                          .undone_effects = 1'234,
                          .returns = 4,
                          .away = absl::Seconds(6)},
                .elapsed = absl::Seconds(2),
                .guarantee = "effectively-once\n  because one transaction\n  because of fsync"};
  result.findings = {.messages = 1'000,
                     .unique_ids = 949,
                     .effects = 948,
                     .duplicates_suppressed = 50,
                     .retried = 2,
                     .dead_lettered = 2,
                     .conflicts = 1};
  return result;
}

// Without the breaks between lines, which may fall anywhere.
std::string Words(const std::string& text) {
  return absl::StrJoin(absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty()), " ");
}

TEST(RenderJson, IsOneObjectWithTheDocumentedMembers) {
  const std::string text = RenderJson(SomeResult());
  EXPECT_EQ(text.find('\n'), text.size() - 1);
  EXPECT_EQ(nlohmann::json::parse(text),
            nlohmann::json::parse(
                R"({"messages":1000,"unique_ids":949,"effects":948,"lost":0,"duplicate_effects":0,
                    "duplicates_suppressed":50,"retried":2,"dead_lettered":2,"conflicts":1,
                    "kills":3,"guarantee":"effectively-once","messages_per_second":500})"));
}

TEST(RenderJsonError, SaysWhatAndWhy) {
  const std::string text = RenderJsonError(absl::UnavailableError("nobody is \"there\""));
  EXPECT_EQ(
      nlohmann::json::parse(text),
      nlohmann::json::parse(R"({"error":{"code":"unavailable","message":"nobody is \"there\""}})"));
}

TEST(RenderSummary, TellsTheResultTheGuaranteeAndWhatIsNotShown) {
  const std::string text = Words(RenderSummary(SomeResult(), false));
  EXPECT_THAT(text, HasSubstr("lost 0 · duplicate effects 0"));
  EXPECT_THAT(text, HasSubstr("4 × kill -9"));
  EXPECT_THAT(text, HasSubstr("1,234 booked effects"));
  EXPECT_THAT(text, HasSubstr("effectively-once: one transaction"));
  EXPECT_THAT(text, HasSubstr("replication"));
  EXPECT_THAT(text, Not(HasSubstr("\033")));
}

TEST(RenderSummary, NamesWhatWentWrong) {
  DemoResult result = SomeResult();
  result.findings.lost = 1;
  result.findings.complaints = {"order-00000007 was never booked"};
  const std::string text = Words(RenderSummary(result, false));
  EXPECT_THAT(text, HasSubstr("lost 1"));
  EXPECT_THAT(text, HasSubstr("! order-00000007 was never booked"));
}

TEST(RenderSummary, SaysNothingOfTheMockOnARealCluster) {
  DemoResult result = SomeResult();
  result.run.is_embedded = false;
  result.run.brokers = "kafka.example:9092";
  const std::string text = Words(RenderSummary(result, false));
  EXPECT_THAT(text, HasSubstr("Kafka at kafka.example:9092"));
  EXPECT_THAT(text, Not(HasSubstr("mock")));
}

TEST(ValidateDemoOptions, NamesTheFlagAndTheWayOut) {
  const auto text = [](const DemoOptions& options) {
    return std::string(ValidateDemoOptions(options).message());
  };
  EXPECT_EQ(text({}), "");
  EXPECT_THAT(text({.messages = 3}), HasSubstr("--messages: 3 is out of range; take 1000 to"));
  EXPECT_THAT(text({.kills = -1}), HasSubstr("--kills: -1 is out of range; take 0 to"));
  EXPECT_THAT(text({.store = "redis:x"}), HasSubstr("--store: \"redis:x\""));
  EXPECT_THAT(text({.store = "redis:x"}), HasSubstr("sqlite:PATH"));
  EXPECT_THAT(text({.store = "sqlite:"}), HasSubstr("--store: has no path"));
  EXPECT_THAT(text({.store = "sqlite:/proc/self/exe"}), HasSubstr("exists"));
  EXPECT_THAT(text({.store = "sqlite:/no/such/folder/x.db"}), HasSubstr("there is no folder"));
}

}  // namespace
}  // namespace once::demo
