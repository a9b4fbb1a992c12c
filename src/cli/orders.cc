// Plans the orders. Only the output of std::mt19937_64 is used, and no distribution of the standard
// library: those differ from one library to the next.
#include "src/cli/orders.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <random>
#include <utility>

#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"

namespace once::demo {
namespace {

constexpr std::size_t kMistakesFrom =
    20;  // messages; fewer have no room for one mistake of each kind
constexpr std::uint64_t kCentsMax = 100'000;
constexpr std::string_view kIdPrefix = "order-";

std::size_t CountOf(double share, std::size_t messages) {
  if (share <= 0 || messages < kMistakesFrom) return 0;
  const double count = std::round(share * static_cast<double>(messages));
  return std::max<std::size_t>(1, static_cast<std::size_t>(count));
}

class Planner {
 public:
  explicit Planner(const OrderPlanOptions& options) : options_(options), engine_(options.seed) {}

  OrderPlan Plan() {
    plan_.messages.reserve(options_.messages);
    for (const OrderKind kind : ShuffledKinds()) plan_.messages.push_back(Next(kind));
    return std::move(plan_);
  }

 private:
  std::uint64_t Below(std::uint64_t bound) { return engine_() % bound; }

  std::vector<OrderKind> ShuffledKinds() {
    plan_.copies = CountOf(options_.copies, options_.messages);
    plan_.poison = CountOf(options_.poison, options_.messages);
    plan_.flaky = CountOf(options_.flaky, options_.messages);
    plan_.conflicts = CountOf(options_.conflicts, options_.messages);
    std::vector<OrderKind> kinds;
    kinds.reserve(options_.messages);
    kinds.insert(kinds.end(), plan_.copies, OrderKind::kCopy);
    kinds.insert(kinds.end(), plan_.poison, OrderKind::kPoison);
    kinds.insert(kinds.end(), plan_.flaky, OrderKind::kFlaky);
    kinds.insert(kinds.end(), plan_.conflicts, OrderKind::kConflict);
    kinds.resize(options_.messages, OrderKind::kGood);
    for (std::size_t i = kinds.size(); i > 1; --i) std::swap(kinds[i - 1], kinds[Below(i)]);
    // Copies and conflicts need a good order before them.
    const auto good = std::find(kinds.begin(), kinds.end(), OrderKind::kGood);
    if (good != kinds.end()) std::iter_swap(kinds.begin(), good);
    return kinds;
  }

  OrderMessage Next(OrderKind kind) {
    switch (kind) {
      case OrderKind::kCopy:
        return Copy();
      case OrderKind::kConflict:
        return Conflict();
      case OrderKind::kGood:
      case OrderKind::kFlaky:
      case OrderKind::kPoison:
        break;
    }
    return NewOrder(kind);
  }

  OrderMessage NewOrder(OrderKind kind) {
    OrderMessage order;
    order.order = static_cast<std::uint32_t>(plan_.orders.size());
    order.cents = 1 + static_cast<std::int64_t>(Below(kCentsMax));
    order.account = static_cast<std::uint16_t>(Below(kAccounts));
    order.partition = RandomPartition();
    order.kind = kind;
    if (kind == OrderKind::kPoison) order.cents = -order.cents;
    if (kind == OrderKind::kFlaky) {
      order.failures = static_cast<std::uint8_t>(1 + Below(2));
      plan_.failures += order.failures;
    }
    if (kind != OrderKind::kPoison) bookable_.push_back(order.order);
    if (kind == OrderKind::kGood) good_.push_back(order.order);
    plan_.orders.push_back(order);
    return order;
  }

  OrderMessage Copy() {
    OrderMessage copy = plan_.orders[bookable_[Below(bookable_.size())]];
    copy.kind = OrderKind::kCopy;
    if (Below(3) == 0) copy.partition = RandomPartition();
    return copy;
  }

  OrderMessage Conflict() {
    OrderMessage conflict = plan_.orders[good_[Below(good_.size())]];
    conflict.kind = OrderKind::kConflict;
    // A different amount each time, so that each of them can be told apart when it is read back.
    conflict.cents += static_cast<std::int64_t>(kCentsMax) + ++conflicts_so_far_;
    return conflict;
  }

  std::int32_t RandomPartition() {
    return static_cast<std::int32_t>(Below(static_cast<std::uint64_t>(options_.partitions)));
  }

  const OrderPlanOptions& options_;
  std::mt19937_64 engine_;
  OrderPlan plan_;
  std::vector<std::uint32_t> bookable_;
  std::vector<std::uint32_t> good_;
  std::int64_t conflicts_so_far_ = 0;
};

}  // namespace

OrderPlan PlanOrders(const OrderPlanOptions& options) { return Planner(options).Plan(); }

std::string OrderId(std::uint32_t order) { return absl::StrFormat("order-%08d", order); }

std::optional<std::uint32_t> ParseOrderId(std::string_view id) {
  if (id.substr(0, kIdPrefix.size()) != kIdPrefix) return std::nullopt;
  const std::string_view digits = id.substr(kIdPrefix.size());
  std::uint32_t order = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), order);
  const bool is_number = error == std::errc() && end == digits.data() + digits.size();
  if (!is_number || OrderId(order) != id) return std::nullopt;
  return order;
}

std::string OrderValue(const OrderMessage& message) {
  return absl::StrFormat(R"({"order":"%s","account":%d,"cents":%d,"failures":%d})",
                         OrderId(message.order), message.account, message.cents, message.failures);
}

std::optional<ReceivedOrder> ParseOrder(std::string_view value) {
  const nlohmann::json json = nlohmann::json::parse(value, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  const auto number = [&json](const char* name) -> std::optional<std::int64_t> {
    const auto found = json.find(name);
    if (found == json.end() || !found->is_number_integer()) return std::nullopt;
    return found->get<std::int64_t>();
  };
  const auto id = json.find("order");
  const auto cents = number("cents");
  const auto account = number("account");
  const auto failures = number("failures");
  if (id == json.end() || !id->is_string() || !cents || !account || !failures) return std::nullopt;
  const auto order = ParseOrderId(id->get_ref<const std::string&>());
  if (!order) return std::nullopt;
  return ReceivedOrder{.order = *order,
                       .cents = *cents,
                       .account = static_cast<std::uint16_t>(*account),
                       .failures = static_cast<int>(*failures)};
}

}  // namespace once::demo
