// Sends in chunks, each of which is acknowledged before the next.
#include "src/cli/order_sender.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "once/abseil.h"
#include "once/kafka/publisher.h"

namespace once::demo {
namespace {

constexpr std::size_t kChunkMax = 2'000;
constexpr absl::Duration kPublishTimeout = absl::Seconds(30);
constexpr absl::Duration kGateInterval = absl::Milliseconds(1);

OutgoingMessage ToOutgoing(const OrderMessage& message, const std::string& topic) {
  std::string id = OrderId(message.order);
  return {.topic = topic,
          .partition = message.partition,
          .key = id,
          .value = OrderValue(message),
          .headers = {{.name = "order-id", .value = id}}};
}

}  // namespace

absl::StatusOr<std::unique_ptr<OrderSender>> OrderSender::Start(
    const std::string& brokers, const std::string& topic, const OrderPlan& plan,
    std::function<std::size_t()> consumed) {
  auto publisher = kafka::OpenPublisher({.brokers = brokers, .log = NoLog()});
  if (!publisher.ok()) return publisher.status();
  return std::unique_ptr<OrderSender>(
      new OrderSender(*std::move(publisher), topic, plan, std::move(consumed)));
}

OrderSender::OrderSender(std::shared_ptr<Publisher> publisher, const std::string& topic,
                         const OrderPlan& plan, std::function<std::size_t()> consumed)
    : publisher_(std::move(publisher)),
      topic_(topic),
      plan_(plan),
      consumed_(std::move(consumed)),
      thread_([this](const std::stop_token& stop) { Run(stop); }) {}

void OrderSender::Allow(std::size_t messages) {
  allowed_ = std::clamp(messages, allowed_.load(), plan_.messages.size());
}

absl::Status OrderSender::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

std::size_t OrderSender::Room() const {
  const std::size_t sent = sent_;
  const std::size_t limit = std::min<std::size_t>(allowed_, consumed_() + kBacklogMax);
  return std::min(kChunkMax, limit - std::min(limit, sent));
}

void OrderSender::Run(const std::stop_token& stop) {
  while (!stop.stop_requested() && sent_ < plan_.messages.size()) {
    const std::size_t count = Room();
    if (count == 0) {
      absl::SleepFor(kGateInterval);
      continue;
    }
    absl::Status status = Send(count);
    if (!status.ok()) {
      const std::lock_guard lock(mutex_);
      status_ = std::move(status);
      return;
    }
    sent_ += count;
  }
}

absl::Status OrderSender::Send(std::size_t count) {
  std::vector<OutgoingMessage> messages;
  messages.reserve(count);
  for (const OrderMessage& message : std::span(plan_.messages).subspan(sent_, count)) {
    messages.push_back(ToOutgoing(message, topic_));
  }
  std::vector<absl::Status> outcomes(count, absl::UnknownError("not published"));
  publisher_->Publish(messages, absl::Now() + kPublishTimeout, outcomes);
  for (const absl::Status& outcome : outcomes) {
    if (!outcome.ok()) return Annotate(outcome, "sending orders");
  }
  return absl::OkStatus();
}

}  // namespace once::demo
