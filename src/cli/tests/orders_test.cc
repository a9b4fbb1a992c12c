// The planned orders: the same for the same seed, and with exactly the mistakes that were asked
// for.
#include "src/cli/orders.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace once::demo {
namespace {

using ::testing::Contains;
using ::testing::Key;
using ::testing::Not;

std::size_t CountKind(const OrderPlan& plan, OrderKind kind) {
  return static_cast<std::size_t>(
      std::count_if(plan.messages.begin(), plan.messages.end(),
                    [kind](const OrderMessage& message) { return message.kind == kind; }));
}

bool IsSame(const OrderMessage& left, const OrderMessage& right) {
  return left.order == right.order && left.cents == right.cents &&
         left.partition == right.partition && left.account == right.account &&
         left.failures == right.failures && left.kind == right.kind;
}

TEST(PlanOrders, TheSameSeedGivesTheSameMessages) {
  const OrderPlan first = PlanOrders({.messages = 5'000, .seed = 7});
  const OrderPlan second = PlanOrders({.messages = 5'000, .seed = 7});
  EXPECT_TRUE(std::equal(first.messages.begin(), first.messages.end(), second.messages.begin(),
                         second.messages.end(), IsSame));
}

TEST(PlanOrders, AnotherSeedGivesOtherMessages) {
  const OrderPlan first = PlanOrders({.messages = 5'000, .seed = 7});
  const OrderPlan second = PlanOrders({.messages = 5'000, .seed = 8});
  EXPECT_FALSE(std::equal(first.messages.begin(), first.messages.end(), second.messages.begin(),
                          second.messages.end(), IsSame));
}

// Nothing may depend on the standard library at hand: these are the same on every machine.
TEST(PlanOrders, TheFirstMessagesOfSeedOneAreKnown) {
  const OrderPlan plan = PlanOrders({});
  EXPECT_EQ(OrderValue(plan.messages[0]),
            R"({"order":"order-00000000","account":95,"cents":49659,"failures":0})");
  EXPECT_EQ(plan.messages[0].partition, 1);
  EXPECT_EQ(plan.orders.size(), 94'990u);
  EXPECT_EQ(plan.failures, 146u);
}

TEST(PlanOrders, HasTheDefaultSharesOfMistakes) {
  const OrderPlan plan = PlanOrders({});
  EXPECT_EQ(plan.messages.size(), 100'000u);
  EXPECT_EQ(CountKind(plan, OrderKind::kCopy), 5'000u);
  EXPECT_EQ(CountKind(plan, OrderKind::kPoison), 100u);
  EXPECT_EQ(CountKind(plan, OrderKind::kFlaky), 100u);
  EXPECT_EQ(CountKind(plan, OrderKind::kConflict), 10u);
  EXPECT_EQ(plan.orders.size(), 100'000u - 5'000u - 10u);
  EXPECT_EQ(plan.bookable(), plan.orders.size() - 100u);
}

TEST(PlanOrders, ACopyComesLaterAndHasTheValueOfItsOrder) {
  const OrderPlan plan = PlanOrders({.messages = 20'000});
  std::set<std::uint32_t> seen;
  int moved = 0;
  for (const OrderMessage& message : plan.messages) {
    if (message.kind == OrderKind::kCopy) {
      ASSERT_TRUE(seen.count(message.order));
      EXPECT_EQ(OrderValue(message), OrderValue(plan.orders[message.order]));
      moved += message.partition != plan.orders[message.order].partition ? 1 : 0;
    }
    seen.insert(message.order);
  }
  EXPECT_GT(moved, 0);
}

TEST(PlanOrders, AConflictComesLaterOnTheSamePartitionWithAnAmountOfItsOwn) {
  const OrderPlan plan = PlanOrders({.messages = 20'000, .conflicts = 0.05});
  std::map<std::pair<std::uint32_t, std::int64_t>, int> values;
  std::set<std::uint32_t> seen;
  for (const OrderMessage& message : plan.messages) {
    if (message.kind == OrderKind::kConflict) {
      ASSERT_TRUE(seen.count(message.order));
      EXPECT_EQ(message.partition, plan.orders[message.order].partition);
      const auto value = std::make_pair(message.order, message.cents);
      EXPECT_THAT(values, Not(Contains(Key(value))));
      ++values[value];
      EXPECT_NE(message.cents, plan.orders[message.order].cents);
    }
    seen.insert(message.order);
  }
  EXPECT_EQ(values.size(), plan.conflicts);
}

TEST(PlanOrders, AFewMessagesHaveOneMistakeOfEachKind) {
  const OrderPlan plan = PlanOrders({.messages = 20});
  EXPECT_EQ(plan.copies, 1u);
  EXPECT_EQ(plan.poison, 1u);
  EXPECT_EQ(plan.flaky, 1u);
  EXPECT_EQ(plan.conflicts, 1u);
}

TEST(ParseOrder, ReadsWhatOrderValueWrites) {
  const OrderMessage message{.order = 4711, .cents = -250, .account = 12, .failures = 2};
  const std::optional<ReceivedOrder> order = ParseOrder(OrderValue(message));
  ASSERT_TRUE(order);
  EXPECT_EQ(order->order, 4711u);
  EXPECT_EQ(order->cents, -250);
  EXPECT_EQ(order->account, 12);
  EXPECT_EQ(order->failures, 2);
}

TEST(ParseOrder, RefusesEverythingElse) {
  EXPECT_FALSE(ParseOrder(""));
  EXPECT_FALSE(ParseOrder("not json"));
  EXPECT_FALSE(ParseOrder("[]"));
  EXPECT_FALSE(ParseOrder(R"({"order":"order-00000001","account":1,"cents":2})"));
  EXPECT_FALSE(ParseOrder(R"({"order":"one","account":1,"cents":2,"failures":0})"));
  EXPECT_FALSE(ParseOrder(R"({"order":"order-00000001","account":1,"cents":"2","failures":0})"));
}

TEST(ParseOrderId, RefusesWhatOrderIdDoesNotWrite) {
  EXPECT_EQ(ParseOrderId(OrderId(0)), 0u);
  EXPECT_EQ(ParseOrderId(OrderId(123'456'789)), 123'456'789u);
  EXPECT_FALSE(ParseOrderId("order-1"));
  EXPECT_FALSE(ParseOrderId("order-0000000x"));
  EXPECT_FALSE(ParseOrderId("orders-00000001"));
  EXPECT_FALSE(ParseOrderId(""));
}

}  // namespace
}  // namespace once::demo
