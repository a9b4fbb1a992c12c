// The checker must find what a broken consumer would do. A demonstration whose check cannot fail
// shows nothing.
#include "src/cli/demo_check.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace once::demo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Effect {
  std::uint32_t order;
  std::int64_t account;
  std::int64_t cents;
  int attempt;
};

struct Letter {
  OrderMessage message;
  std::string disposition;
};

// What a perfect consumer would leave behind; tests break it.
class Outcome {
 public:
  Outcome() {
    std::set<std::uint32_t> booked;
    for (const OrderMessage& message : plan.messages) {
      if (message.kind == OrderKind::kPoison) {
        letters.push_back({message, "rejected"});
      } else if (message.kind == OrderKind::kConflict) {
        letters.push_back({message, "conflict"});
      } else if (booked.insert(message.order).second) {
        effects.push_back({message.order, message.account, message.cents, 1 + message.failures});
        balances[message.account] += message.cents;
      }
    }
  }

  Findings Check() const {
    Checker checker(plan);
    for (const Effect& effect : effects) {
      const std::string id = OrderId(effect.order);
      checker.AddEffect({.order_id = id,
                         .account = effect.account,
                         .cents = effect.cents,
                         .attempt = effect.attempt});
    }
    for (const auto& [account, cents] : balances) checker.AddBalance(account, cents);
    for (const Letter& letter : letters) {
      const std::string value = OrderValue(letter.message);
      checker.AddLetter({.value = value, .disposition = letter.disposition, .attempt = 1});
    }
    return checker.Finish();
  }

  const OrderPlan plan = PlanOrders({.messages = 2'000});
  std::vector<Effect> effects;
  std::map<std::int64_t, std::int64_t> balances;
  std::vector<Letter> letters;
};

TEST(Checker, FindsNothingWrongWithAPerfectOutcome) {
  const Outcome outcome;
  const Findings findings = outcome.Check();
  EXPECT_TRUE(findings.is_perfect());
  EXPECT_THAT(findings.complaints, IsEmpty());
  EXPECT_EQ(findings.messages, 2'000u);
  EXPECT_EQ(findings.unique_ids, outcome.plan.orders.size());
  EXPECT_EQ(findings.effects, outcome.plan.bookable());
  EXPECT_EQ(findings.duplicates_suppressed, outcome.plan.copies);
  EXPECT_EQ(findings.retried, outcome.plan.failures);
  EXPECT_EQ(findings.dead_lettered, outcome.plan.poison + outcome.plan.conflicts);
  EXPECT_EQ(findings.conflicts, outcome.plan.conflicts);
}

TEST(Checker, FindsALostEffect) {
  Outcome outcome;
  const Effect lost = outcome.effects.back();
  outcome.effects.pop_back();
  outcome.balances[lost.account] -= lost.cents;
  const Findings findings = outcome.Check();
  EXPECT_EQ(findings.lost, 1u);
  EXPECT_EQ(findings.duplicate_effects, 0u);
  EXPECT_THAT(findings.complaints, ElementsAre(HasSubstr("was never booked")));
}

TEST(Checker, FindsADuplicateEffect) {
  Outcome outcome;
  const Effect twice = outcome.effects[3];
  outcome.effects.push_back(twice);
  outcome.balances[twice.account] += twice.cents;
  const Findings findings = outcome.Check();
  EXPECT_EQ(findings.lost, 0u);
  EXPECT_EQ(findings.duplicate_effects, 1u);
  EXPECT_THAT(findings.complaints, ElementsAre(HasSubstr("was booked 2 times")));
}

TEST(Checker, TakesAWrongAmountForALostEffect) {
  Outcome outcome;
  outcome.effects[5].cents += 1;
  outcome.balances[outcome.effects[5].account] += 1;
  const Findings findings = outcome.Check();
  EXPECT_EQ(findings.lost, 1u);
  EXPECT_EQ(findings.duplicate_effects, 0u);
  EXPECT_THAT(findings.complaints, ElementsAre(HasSubstr("and sent with")));
}

TEST(Checker, FindsALostDeadLetterOfPoison) {
  Outcome outcome;
  const auto poison =
      std::find_if(outcome.letters.begin(), outcome.letters.end(),
                   [](const Letter& letter) { return letter.disposition == "rejected"; });
  outcome.letters.erase(poison);
  const Findings findings = outcome.Check();
  EXPECT_EQ(findings.lost, 1u);
  EXPECT_THAT(findings.complaints, ElementsAre(HasSubstr("missing from the dead-letter topic")));
}

TEST(Checker, FindsALostDeadLetterOfAConflict) {
  Outcome outcome;
  const auto conflict =
      std::find_if(outcome.letters.begin(), outcome.letters.end(),
                   [](const Letter& letter) { return letter.disposition == "conflict"; });
  outcome.letters.erase(conflict);
  const Findings findings = outcome.Check();
  EXPECT_EQ(findings.lost, 1u);
  EXPECT_EQ(findings.conflicts, outcome.plan.conflicts - 1);
}

TEST(Checker, AcceptsADeadLetterThatWasPublishedTwice) {
  Outcome outcome;
  outcome.letters.push_back(outcome.letters.front());
  const Findings findings = outcome.Check();
  EXPECT_TRUE(findings.is_perfect());
  EXPECT_EQ(findings.dead_lettered, outcome.plan.poison + outcome.plan.conflicts);
}

TEST(Checker, FindsABalanceThatTheEffectsDoNotExplain) {
  Outcome more;
  more.balances.begin()->second += 1;
  EXPECT_EQ(more.Check().duplicate_effects, 1u);
  EXPECT_EQ(more.Check().lost, 0u);

  Outcome less;
  less.balances.begin()->second -= 1;
  EXPECT_EQ(less.Check().lost, 1u);
  EXPECT_EQ(less.Check().duplicate_effects, 0u);
}

TEST(Checker, FindsPoisonThatWasBooked) {
  Outcome outcome;
  const OrderMessage poison = outcome.letters.front().message;
  ASSERT_EQ(poison.kind == OrderKind::kPoison || poison.kind == OrderKind::kConflict, true);
  const auto first =
      std::find_if(outcome.letters.begin(), outcome.letters.end(),
                   [](const Letter& letter) { return letter.message.kind == OrderKind::kPoison; });
  outcome.effects.push_back(
      {first->message.order, first->message.account, first->message.cents, 1});
  outcome.balances[first->message.account] += first->message.cents;
  EXPECT_EQ(outcome.Check().duplicate_effects, 1u);
}

TEST(Checker, FindsAnEffectOfAnOrderThatWasNeverSent) {
  Outcome outcome;
  outcome.effects.push_back({99'999'999, 0, 1, 1});
  outcome.balances[0] += 1;
  EXPECT_EQ(outcome.Check().duplicate_effects, 1u);
}

TEST(Checker, AGoodOrderThatWasDeadLetteredIsLost) {
  Outcome outcome;
  const Effect lost = outcome.effects.front();
  outcome.effects.erase(outcome.effects.begin());
  outcome.balances[lost.account] -= lost.cents;
  outcome.letters.push_back({outcome.plan.orders[lost.order], "retries-exhausted"});
  const Findings findings = outcome.Check();
  EXPECT_EQ(findings.lost, 1u);
  EXPECT_EQ(findings.dead_lettered, outcome.plan.poison + outcome.plan.conflicts + 1);
}

}  // namespace
}  // namespace once::demo
