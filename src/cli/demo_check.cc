// Counts what is missing and what is too much.
#include "src/cli/demo_check.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::demo {

Checker::Checker(const OrderPlan& plan) : plan_(plan), orders_(plan.orders.size()) {
  for (const OrderMessage& message : plan.messages) {
    const bool is_letter =
        message.kind == OrderKind::kPoison || message.kind == OrderKind::kConflict;
    if (is_letter) {
      letters_[{message.order, message.cents}] = {.kind = message.kind};
    } else {
      ++orders_[message.order].sent;
    }
  }
  findings_.messages = plan.messages.size();
  findings_.unique_ids = plan.orders.size();
}

void Checker::Complain(std::string text) {
  if (findings_.complaints.size() < kComplaintsMax) {
    findings_.complaints.push_back(std::move(text));
  }
}

void Checker::AddEffect(const BookedEffect& effect) {
  ++findings_.effects;
  findings_.retried += static_cast<std::uint64_t>(std::max(effect.attempt, 1) - 1);
  if (effect.account >= 0 && effect.account < std::int64_t{kAccounts}) {
    booked_cents_[static_cast<std::size_t>(effect.account)] += effect.cents;
  }
  const std::optional<std::uint32_t> number = ParseOrderId(effect.order_id);
  if (!number || *number >= orders_.size()) {
    ++findings_.duplicate_effects;
    Complain(absl::StrCat("an effect of an order that was never sent: ", ToAbsl(effect.order_id)));
    return;
  }
  const OrderMessage& order = plan_.orders[*number];
  OrderState& state = orders_[*number];
  ++state.booked;
  if (effect.cents == order.cents && effect.account == order.account) {
    ++state.right;
  } else {
    Complain(absl::StrCat(OrderId(*number), " was booked with ", effect.cents, " cents on account ",
                          effect.account, ", and sent with ", order.cents, " on ", order.account));
  }
}

void Checker::AddBalance(std::int64_t account, std::int64_t cents) {
  if (account >= 0 && account < std::int64_t{kAccounts}) {
    balances_[static_cast<std::size_t>(account)] += cents;
    return;
  }
  ++findings_.duplicate_effects;
  Complain(absl::StrCat("a balance of an account that no order names: ", account));
}

void Checker::AddLetter(const ReadLetter& letter) {
  const std::optional<ReceivedOrder> order = ParseOrder(letter.value);
  if (!order || order->order >= orders_.size()) {
    Complain(absl::StrCat("a dead letter that was never sent: ", ToAbsl(letter.value)));
    return;
  }
  const LetterKey key{order->order, order->cents};
  const auto expected = letters_.find(key);
  if (expected == letters_.end()) {
    if (surprises_.emplace(key, letter.attempt).second) {
      Complain(absl::StrCat(OrderId(order->order), " was dead-lettered as ",
                            ToAbsl(letter.disposition), " and should have been booked"));
    }
    return;
  }
  if (expected->second.is_found) return;
  expected->second.is_found = true;
  ++letters_found_;
  ++findings_.dead_lettered;
  const bool is_conflict = expected->second.kind == OrderKind::kConflict;
  findings_.conflicts += is_conflict ? 1 : 0;
  findings_.retried += static_cast<std::uint64_t>(std::max(letter.attempt, 1) - 1);
  const std::string_view wanted = is_conflict ? "conflict" : "rejected";
  if (letter.disposition != wanted) {
    Complain(absl::StrCat(OrderId(order->order), " was dead-lettered as ",
                          ToAbsl(letter.disposition), ", not as ", ToAbsl(wanted)));
  }
}

void Checker::JudgeOrder(std::uint32_t number) {
  const OrderState& state = orders_[number];
  if (plan_.orders[number].kind == OrderKind::kPoison) {
    findings_.duplicate_effects += state.booked;
    if (state.booked > 0) Complain(absl::StrCat(OrderId(number), " is poison and was booked"));
    return;
  }
  if (state.right == 0) {
    ++findings_.lost;
    if (state.booked == 0) Complain(absl::StrCat(OrderId(number), " was never booked"));
  }
  if (state.booked > 1) {
    findings_.duplicate_effects += state.booked - 1;
    Complain(absl::StrCat(OrderId(number), " was booked ", state.booked, " times"));
  }
  if (state.booked > 0 && state.sent > state.booked) {
    findings_.duplicates_suppressed += state.sent - state.booked;
  }
}

Findings Checker::Finish() {
  for (std::uint32_t number = 0; number < orders_.size(); ++number) JudgeOrder(number);
  for (std::size_t account = 0; account < kAccounts; ++account) {
    if (balances_[account] == booked_cents_[account]) continue;
    const bool is_short = balances_[account] < booked_cents_[account];
    ++(is_short ? findings_.lost : findings_.duplicate_effects);
    Complain(absl::StrCat("account ", account, " holds ", balances_[account],
                          " cents, and its effects say ", booked_cents_[account]));
  }
  for (const auto& [key, state] : letters_) {
    if (state.is_found) continue;
    ++findings_.lost;
    Complain(absl::StrCat(OrderId(key.first), " (", key.second,
                          " cents) is missing from the dead-letter topic"));
  }
  findings_.dead_lettered += surprises_.size();
  for (const auto& [key, attempt] : surprises_) {
    findings_.retried += static_cast<std::uint64_t>(std::max(attempt, 1) - 1);
  }
  return findings_;
}

}  // namespace once::demo
