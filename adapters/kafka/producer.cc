// Sending, and waiting for delivery reports. One of the waiting threads polls the client for all.
#include "adapters/kafka/producer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/errors.h"
#include "adapters/kafka/settings.h"
#include "once/abseil.h"

namespace once::kafka {
namespace {

constexpr absl::Duration kServeTime = absl::Milliseconds(50);
constexpr absl::Duration kDropTime = absl::Seconds(1);

constexpr std::string_view kAcknowledged =
    "OK must mean that every in-sync replica has the message, once";

constexpr std::array kFixed = {
    FixedProperty{"bootstrap.servers", "use .brokers"},
    FixedProperty{"metadata.broker.list", "use .brokers"},
    FixedProperty{"acks", kAcknowledged},
    FixedProperty{"request.required.acks", kAcknowledged},
    FixedProperty{"enable.idempotence", kAcknowledged},
    FixedProperty{"transactional.id", "a publisher has no transactions"},
    FixedProperty{"delivery.timeout.ms", "use .delivery_timeout"},
    FixedProperty{"message.timeout.ms", "use .delivery_timeout"},
    FixedProperty{"linger.ms", "use .linger"},
    FixedProperty{"queue.buffering.max.ms", "use .linger"},
    FixedProperty{"delivery.report.only.error", kAcknowledged},
    FixedProperty{"log.queue", "use .log"},
};

// README.md gives the reason for every value.
void Apply(const PublisherOptions& options, Settings& settings) {
  settings.Set("partitioner", "murmur2_random");
  settings.Set("queue.buffering.max.kbytes", "65536");
  settings.Set("topic.metadata.propagation.max.ms", "5000");
  settings.SetProperties(options.properties, kFixed);
  settings.Set("bootstrap.servers", options.brokers);
  settings.Set("enable.idempotence", "true");
  settings.Set("acks", "all");
  settings.Set("delivery.timeout.ms", options.delivery_timeout);
  settings.Set("linger.ms", options.linger);
}

// Null stays null; an empty value gets an address, or it would be null too.
const void* BytesOf(const std::optional<std::string>& value) {
  return value.has_value() ? value->data() : nullptr;
}
std::size_t SizeOf(const std::optional<std::string>& value) {
  return value.has_value() ? value->size() : 0;
}

Owned<rd_kafka_headers_t> HeadersOf(const OutgoingMessage& message) {
  if (message.headers.empty()) return nullptr;
  Owned<rd_kafka_headers_t> headers(rd_kafka_headers_new(message.headers.size()));
  for (const OwnedHeader& header : message.headers) {
    rd_kafka_header_add(headers.get(), header.name.data(), static_cast<ssize_t>(header.name.size()),
                        BytesOf(header.value), static_cast<ssize_t>(SizeOf(header.value)));
  }
  return headers;
}

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
  Apply(options, settings);
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
  absl::Status status = DeliveryStatus(message.err, rd_kafka_message_status(&message),
                                       rd_kafka_topic_name(message.rkt));
  if (IsRefusal(message.err)) is_refused_.store(true);
  const std::lock_guard<std::mutex> lock(mutex_);
  ticket->call->outcomes[ticket->index] = std::move(status);
  --ticket->call->outstanding;
}

void Producer::OnError(rd_kafka_resp_err_t error, std::string_view text) {
  client_->Log(LogLevel::kWarning, "client_error",
               absl::StrCat(rd_kafka_err2name(error), ": ", ToAbsl(text)));
}

// On success the client owns `ticket` until the message's report.
rd_kafka_resp_err_t Producer::TrySend(const OutgoingMessage& message, Ticket* ticket) {
  Owned<rd_kafka_headers_t> headers = HeadersOf(message);
  // Copied: the client keeps the message longer than a caller whose deadline has passed.
  std::array<rd_kafka_vu_t, 7> fields{};
  std::size_t count = 0;
  const auto add = [&](rd_kafka_vtype_t type) -> rd_kafka_vu_t& {
    fields[count].vtype = type;
    return fields[count++];
  };
  add(RD_KAFKA_VTYPE_TOPIC).u.cstr = message.topic.c_str();
  add(RD_KAFKA_VTYPE_MSGFLAGS).u.i = RD_KAFKA_MSG_F_COPY;
  add(RD_KAFKA_VTYPE_PARTITION).u.i32 = message.partition.value_or(RD_KAFKA_PARTITION_UA);
  add(RD_KAFKA_VTYPE_OPAQUE).u.ptr = ticket;
  add(RD_KAFKA_VTYPE_KEY).u.mem = {const_cast<void*>(BytesOf(message.key)), SizeOf(message.key)};
  add(RD_KAFKA_VTYPE_VALUE).u.mem = {const_cast<void*>(BytesOf(message.value)),
                                     SizeOf(message.value)};
  if (headers != nullptr) add(RD_KAFKA_VTYPE_HEADERS).u.headers = headers.get();
  const Owned<rd_kafka_error_t> error(rd_kafka_produceva(handle(), fields.data(), count));
  if (error != nullptr) return rd_kafka_error_code(error.get());
  static_cast<void>(headers.release());
  return RD_KAFKA_RESP_ERR_NO_ERROR;
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
    const rd_kafka_resp_err_t error = TrySend(message, ticket.get());
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
