// The OrderSender is the producer of the demonstration: a thread that sends the planned orders
// through once::kafka::OpenPublisher, as far as it is allowed to.
// Thread-safety: safe for concurrent use.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/publisher.h"
#include "src/cli/orders.h"

namespace once::demo {

// The most messages that wait for the consumer. librdkafka's mock cluster keeps 5 MB per partition
// and silently drops what is older (rdkafka_mock.c, mpart->max_size); an order takes 150 bytes.
inline constexpr std::size_t kBacklogMax = 60'000;

class OrderSender {
 public:
  // `plan` and `topic` must outlive the sender. `consumed` says how many messages the consumer has
  // settled; it is called from the sender's thread.
  static absl::StatusOr<std::unique_ptr<OrderSender>> Start(const std::string& brokers,
                                                            const std::string& topic,
                                                            const OrderPlan& plan,
                                                            std::function<std::size_t()> consumed);

  // The first `messages` of the plan may be sent. Never shrinks.
  void Allow(std::size_t messages);
  std::size_t allowed() const { return allowed_; }
  // Acknowledged by the broker.
  std::size_t sent() const { return sent_; }
  // Not OK: a message was refused, and no more are sent.
  absl::Status status() const;

 private:
  OrderSender(std::shared_ptr<Publisher> publisher, const std::string& topic, const OrderPlan& plan,
              std::function<std::size_t()> consumed);
  void Run(const std::stop_token& stop);
  std::size_t Room() const;
  absl::Status Send(std::size_t count);

  const std::shared_ptr<Publisher> publisher_;
  const std::string& topic_;
  const OrderPlan& plan_;
  const std::function<std::size_t()> consumed_;
  std::atomic<std::size_t> allowed_ = 0;
  std::atomic<std::size_t> sent_ = 0;
  mutable std::mutex mutex_;
  absl::Status status_;
  std::jthread thread_;
};

}  // namespace once::demo
