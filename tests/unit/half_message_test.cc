// Which options of a ledger of half messages are refused, and what it says of itself. What it
// answers: HalfMessageConformance, over every store.
#include "once/half_message.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "once/memory/store.h"

namespace once {
namespace {

using ::testing::HasSubstr;

// Keeps the action of the last line.
class LastAction final : public LogSink {
 public:
  LogLevel level() const override { return LogLevel::kInfo; }
  void Log(const LogEvent& event) override { action = event.action; }

  std::string action;
};

// A store of claims only, as Redis is one.
class ClaimsOnly final : public DedupStore {
 public:
  StoreTraits traits() const override { return {.name = "claims-only"}; }
};

absl::Status Refusal(const std::function<void(HalfMessageOptions&)>& change) {
  HalfMessageOptions options = {.store = memory::OpenStore(), .scope = "orders", .log = NoLog()};
  change(options);
  return HalfMessageLedger::Create(std::move(options)).status();
}

TEST(HalfMessageOptions, ARefusalNamesTheField) {
  EXPECT_TRUE(Refusal([](auto&) {}).ok());
  const auto text = [](const std::function<void(HalfMessageOptions&)>& change) {
    const absl::Status refused = Refusal(change);
    EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
    return std::string(refused.message());
  };
  EXPECT_THAT(text([](auto& o) { o.store = nullptr; }), HasSubstr("::store"));
  EXPECT_THAT(text([](auto& o) { o.scope = ""; }), HasSubstr("::scope"));
  EXPECT_THAT(text([](auto& o) { o.log = nullptr; }), HasSubstr("::log"));
  EXPECT_THAT(text([](auto& o) { o.executor = nullptr; }), HasSubstr("::executor"));
  EXPECT_THAT(text([](auto& o) { o.grace = -absl::Seconds(1); }), HasSubstr("::grace"));
  EXPECT_THAT(text([](auto& o) { o.horizon = o.grace; }), HasSubstr("::horizon"));
}

TEST(HalfMessageOptions, AStoreWithoutTransactionsCannotAnswer) {
  const absl::Status refused = Refusal([](auto& o) { o.store = std::make_shared<ClaimsOnly>(); });
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("claims-only"));
}

TEST(HalfMessageOptions, AStoreThatForgetsIsWarnedOf) {
  const auto log = std::make_shared<LastAction>();
  EXPECT_TRUE(Refusal([&](auto& o) { o.log = log; }).ok());
  EXPECT_EQ(log->action, "half_messages_weak");
}

TEST(HalfMessages, AnIdOfSomebodyElseInItsScopeIsNotDecided) {
  const auto store = memory::OpenStore();
  auto ledger = HalfMessageLedger::Create({.store = store, .scope = "orders", .log = NoLog()});
  ASSERT_TRUE(ledger.ok()) << ledger.status();
  auto begun = store->transactions()->Begin({});
  ASSERT_TRUE(begun.ok()) << begun.status();
  const std::string scope = NamedScope("once-half-messages/orders");
  const IdWrite write = {.key = {.scope = scope, .id = "a"},
                         .record = {.state = IdState::kRetrying, .attempt = 1}};
  ASSERT_TRUE(begun->transaction->PutIds({&write, 1}).ok());
  ASSERT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());
  const CheckAnswer answer = (*ledger)->Settle("a");
  EXPECT_EQ(answer.outcome, LocalTransactionOutcome::kUnknown);
  EXPECT_TRUE(absl::IsInternal(answer.reason)) << answer.reason;
  bool has_run = false;
  EXPECT_TRUE(absl::IsInternal((*ledger)->Transact("a", [&](Transaction&) {
    has_run = true;
    return absl::OkStatus();
  })));
  EXPECT_FALSE(has_run);
}

TEST(HalfMessages, OutcomesHaveNames) {
  EXPECT_EQ(ToString(LocalTransactionOutcome::kUnknown), "unknown");
  EXPECT_EQ(ToString(LocalTransactionOutcome::kCommitted), "committed");
  EXPECT_EQ(ToString(LocalTransactionOutcome::kRolledBack), "rolled_back");
}

}  // namespace
}  // namespace once
