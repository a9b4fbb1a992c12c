// The orders of the demonstration: what is sent, in which sequence, and with which mistakes put in
// on purpose. Pure: the same options give the same messages on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace once::demo {

enum class OrderKind : std::uint8_t {
  kGood,      // booked at the first attempt
  kFlaky,     // fails once or twice, then it can be booked
  kPoison,    // can never be booked: a dead letter
  kCopy,      // an earlier good or flaky order again, with the same value: a duplicate
  kConflict,  // the id of an earlier good order with another amount: a dead letter
};

// One message to send.
struct OrderMessage {
  std::uint32_t order = 0;  // its number, from 0; copies and conflicts repeat an earlier one
  std::int64_t cents = 0;   // not positive in a poison order
  std::int32_t partition = 0;
  std::uint16_t account = 0;
  std::uint8_t failures = 0;  // attempts that fail before one succeeds
  OrderKind kind = OrderKind::kGood;
};

inline constexpr std::size_t kAccounts = 97;

struct OrderPlanOptions {
  std::size_t messages = 100'000;
  std::int32_t partitions = 6;
  std::uint64_t seed = 1;
  // Shares of all messages; each is at least one message once there are 20 messages or more.
  double copies = 0.05;
  double poison = 0.001;
  double flaky = 0.001;
  double conflicts = 0.0001;
};

// What is sent and, by that, the truth that the result is compared with.
struct OrderPlan {
  std::vector<OrderMessage> messages;  // in the order of sending
  std::vector<OrderMessage> orders;    // by number: the first message of each order
  std::size_t copies = 0;
  std::size_t poison = 0;
  std::size_t flaky = 0;
  std::size_t conflicts = 0;
  std::size_t failures = 0;  // attempts that are made to fail and followed by another

  // Orders that must be booked, once each.
  std::size_t bookable() const { return orders.size() - poison; }
};

// A conflict stays on the partition of its order, so that the order comes first; one copy in three
// goes to another partition, where it may even come before its order.
// REQUIRES: messages <= 2^32, partitions >= 1, the shares sum up to less than 1/2.
OrderPlan PlanOrders(const OrderPlanOptions& options);

// "order-00000042".
std::string OrderId(std::uint32_t order);
// The number in it; nullopt for anything that OrderId() does not produce.
std::optional<std::uint32_t> ParseOrderId(std::string_view id);

// The message's value: JSON.
std::string OrderValue(const OrderMessage& message);

// What a consumer can see of an order.
struct ReceivedOrder {
  std::uint32_t order = 0;
  std::int64_t cents = 0;
  std::uint16_t account = 0;
  int failures = 0;
};

// Nullopt for a value that OrderValue() does not produce.
std::optional<ReceivedOrder> ParseOrder(std::string_view value);

}  // namespace once::demo
