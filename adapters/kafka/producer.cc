// Sending, and waiting for delivery reports. One of the waiting threads polls the client for all.
#include "adapters/kafka/producer.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/errors.h"
#include "adapters/kafka/produce.h"
#include "adapters/kafka/settings.h"
#include "once/abseil.h"

namespace once::kafka {
namespace {

constexpr absl::Duration kServeTime = absl::Milliseconds(50);
constexpr absl::Duration kDropTime = absl::Seconds(1);

}  // namespace

absl::StatusOr<std::shared_ptr<Producer>> Producer::Open(const PublisherOptions& options) {
  absl::Status status = RequireText("brokers", options.brokers);
  status.Update(RequireDuration("delivery_timeout", options.delivery_timeout));
  if (options.linger < absl::ZeroDuration() || options.linger >= options.delivery_timeout) {
    status.Update(absl::InvalidArgumentError(
        "kafka: .linger must be at least 0 and less than .delivery_timeout"));
  }
  if (!status.ok()) return status;
  Settings settings;
  ApplyProducerSettings({.brokers = options.brokers,
                         .linger = options.linger,
                         .delivery_timeout = options.delivery_timeout,
                         .properties = options.properties},
                        settings);
  if (!settings.status().ok()) return settings.status();
  absl::StatusOr<std::shared_ptr<Client>> client =
      Client::Create(RD_KAFKA_PRODUCER, settings, options.log);
  if (!client.ok()) return client.status();
  return std::shared_ptr<Producer>(new Producer(*std::move(client)));
}

Producer::Producer(std::shared_ptr<Client> client) : client_(std::move(client)) {
  client_->set_listener(this);
}

Producer::~Producer() {
  // Every message that is still inside has a ticket, which its report gives back.
  rd_kafka_purge(handle(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
  const absl::Time deadline = absl::Now() + kDropTime;
  while (rd_kafka_outq_len(handle()) > 0 && absl::Now() < deadline) {
    rd_kafka_poll(handle(), 10);
  }
  client_->set_listener(nullptr);
}

void Producer::OnDelivered(const rd_kafka_message_t& message) {
  const std::unique_ptr<Ticket> ticket(static_cast<Ticket*>(message._private));
  absl::Status status = DeliveryStatus(message);
  if (IsRefusal(message.err)) is_refused_.store(true);
  const std::lock_guard<std::mutex> lock(mutex_);
  ticket->call->outcomes[ticket->index] = std::move(status);
  --ticket->call->outstanding;
}

void Producer::OnError(rd_kafka_resp_err_t error, std::string_view text) {
  client_->Log(LogLevel::kWarning, "client_error",
               absl::StrCat(rd_kafka_err2name(error), ": ", ToAbsl(text)));
}

// OK when the client has taken the message; its report follows. Waits for room in the queue.
absl::Status Producer::Send(const OutgoingMessage& message, const std::shared_ptr<Call>& call,
                            std::size_t index, absl::Time deadline) {
  auto ticket = std::make_unique<Ticket>(Ticket{.call = call, .index = index});
  while (true) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ++call->outstanding;
    }
    // Copied: the client keeps the message longer than a caller whose deadline has passed.
    const rd_kafka_resp_err_t error =
        kafka::Produce(handle(), {.message = message,
                                  .partition = message.partition.value_or(RD_KAFKA_PARTITION_UA),
                                  .opaque = ticket.get()});
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
      static_cast<void>(ticket.release());
      return absl::OkStatus();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    --call->outstanding;
    if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL || absl::Now() >= deadline) {
      return DeliveryStatus(error, RD_KAFKA_MSG_STATUS_NOT_PERSISTED, message.topic);
    }
    Serve(lock, std::min(kServeTime, deadline - absl::Now()));
  }
}

void Producer::Publish(std::span<const OutgoingMessage> messages, absl::Time deadline,
                       std::span<absl::Status> outcomes) {
  const auto call = std::make_shared<Call>();
  call->outcomes.assign(messages.size(),
                        absl::UnknownError("kafka: no acknowledgement by the deadline"));
  absl::Status stopped;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    absl::Status sent = stopped.ok() ? Send(messages[i], call, i, deadline) : stopped;
    if (sent.ok()) continue;
    if (stopped.ok() && !absl::IsInvalidArgument(sent)) {
      // What follows must not overtake it.
      stopped = absl::UnavailableError("kafka: not sent, since one before it was not");
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    call->outcomes[i] = std::move(sent);
  }
  WaitFor(*call, deadline);
  const std::lock_guard<std::mutex> lock(mutex_);
  std::copy(call->outcomes.begin(), call->outcomes.end(), outcomes.begin());
}

void Producer::WaitFor(const Call& call, absl::Time deadline) {
  std::unique_lock<std::mutex> lock(mutex_);
  while (call.outstanding > 0) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) return;
    if (is_broken()) {
      // A broken client keeps its messages until they time out.
      rd_kafka_purge(handle(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    }
    Serve(lock, std::min(kServeTime, left));
  }
}

// Serves the client's events, or waits while another thread does.
void Producer::Serve(std::unique_lock<std::mutex>& lock, absl::Duration wait) {
  if (is_serving_) {
    served_.wait_for(lock, absl::ToChronoMilliseconds(wait) + std::chrono::milliseconds(1));
    return;
  }
  is_serving_ = true;
  lock.unlock();
  rd_kafka_poll(handle(), static_cast<int>(
                              absl::ToInt64Milliseconds(absl::Ceil(wait, absl::Milliseconds(1)))));
  lock.lock();
  is_serving_ = false;
  served_.notify_all();
}

}  // namespace once::kafka
