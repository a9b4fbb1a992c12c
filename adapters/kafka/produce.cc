// Settings and fields.
#include "adapters/kafka/produce.h"

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "once/sequence.h"

namespace once::kafka {
namespace {

constexpr std::string_view kAcknowledged =
    "OK must mean that every in-sync replica has the message, once";

constexpr std::array kFixed = {
    FixedProperty{"bootstrap.servers", "use .brokers"},
    FixedProperty{"metadata.broker.list", "use .brokers"},
    FixedProperty{"acks", kAcknowledged},
    FixedProperty{"request.required.acks", kAcknowledged},
    FixedProperty{"enable.idempotence", kAcknowledged},
    FixedProperty{"enable.gapless.guarantee", "it is set where it is needed"},
    FixedProperty{"transactional.id",
                  "only kafka::TransactionalProducer has transactions, by .transactional_id"},
    FixedProperty{"transaction.timeout.ms",
                  "only kafka::TransactionalProducer has transactions, by .times"},
    FixedProperty{"delivery.timeout.ms", "use .delivery_timeout"},
    FixedProperty{"message.timeout.ms", "use .delivery_timeout"},
    FixedProperty{"linger.ms", "use .linger"},
    FixedProperty{"queue.buffering.max.ms", "use .linger"},
    FixedProperty{"delivery.report.only.error", kAcknowledged},
    FixedProperty{"log.queue", "use .log"},
};

// Null stays null; an empty value gets an address, or it would be null too.
const void* BytesOf(const std::optional<std::string>& value) {
  return value.has_value() ? value->data() : nullptr;
}
std::size_t SizeOf(const std::optional<std::string>& value) {
  return value.has_value() ? value->size() : 0;
}

// The list's own memory stays, and what its entries had is the next to be allocated again, by this
// thread.
void Empty(rd_kafka_headers_t* headers) {
  std::string name;
  const char* first = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  while (rd_kafka_header_get_all(headers, 0, &first, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR) {
    name = first;  // it goes with the entry, while others are still compared with it
    rd_kafka_header_remove(headers, name.c_str());
  }
}

Owned<rd_kafka_headers_t> HeadersOf(const ProduceRequest& request) {
  const OutgoingMessage& message = request.message;
  const std::string_view stamp = request.stamp;
  const std::size_t count = message.headers.size() + (stamp.empty() ? 0 : 1);
  if (count == 0) return nullptr;
  Owned<rd_kafka_headers_t> headers;
  if (request.spare != nullptr && *request.spare != nullptr) {
    headers = std::move(*request.spare);
    Empty(headers.get());
  } else {
    headers.reset(rd_kafka_headers_new(count));
  }
  for (const OwnedHeader& header : message.headers) {
    rd_kafka_header_add(headers.get(), header.name.data(), static_cast<ssize_t>(header.name.size()),
                        BytesOf(header.value), static_cast<ssize_t>(SizeOf(header.value)));
  }
  if (!stamp.empty()) {
    rd_kafka_header_add(headers.get(), kSequenceHeader.data(),
                        static_cast<ssize_t>(kSequenceHeader.size()), stamp.data(),
                        static_cast<ssize_t>(stamp.size()));
  }
  return headers;
}

}  // namespace

void ApplyProducerSettings(const ProducerSettings& from, Settings& settings) {
  settings.Set("partitioner", "murmur2_random");
  settings.Set("queue.buffering.max.kbytes", "65536");
  settings.Set("topic.metadata.propagation.max.ms", "5000");
  settings.SetProperties(from.properties, kFixed);
  settings.Set("bootstrap.servers", from.brokers);
  settings.Set("enable.idempotence", "true");
  settings.Set("acks", "all");
  const bool is_infinite = from.delivery_timeout == absl::InfiniteDuration();
  settings.Set("delivery.timeout.ms", is_infinite ? absl::ZeroDuration() : from.delivery_timeout);
  settings.Set("linger.ms", from.linger);
}

rd_kafka_resp_err_t Produce(rd_kafka_t* handle, const ProduceRequest& request) {
  const OutgoingMessage& message = request.message;
  Owned<rd_kafka_headers_t> headers = HeadersOf(request);
  std::array<rd_kafka_vu_t, 7> fields{};
  std::size_t count = 0;
  const auto add = [&](rd_kafka_vtype_t type) -> rd_kafka_vu_t& {
    fields[count].vtype = type;
    return fields[count++];
  };
  if (request.topic != nullptr) {
    add(RD_KAFKA_VTYPE_RKT).u.rkt = request.topic;
  } else {
    add(RD_KAFKA_VTYPE_TOPIC).u.cstr = message.topic.c_str();
  }
  add(RD_KAFKA_VTYPE_MSGFLAGS).u.i = request.is_copied ? RD_KAFKA_MSG_F_COPY : 0;
  add(RD_KAFKA_VTYPE_PARTITION).u.i32 = request.partition;
  add(RD_KAFKA_VTYPE_OPAQUE).u.ptr = request.opaque;
  add(RD_KAFKA_VTYPE_KEY).u.mem = {const_cast<void*>(BytesOf(message.key)), SizeOf(message.key)};
  add(RD_KAFKA_VTYPE_VALUE).u.mem = {const_cast<void*>(BytesOf(message.value)),
                                     SizeOf(message.value)};
  if (headers != nullptr) add(RD_KAFKA_VTYPE_HEADERS).u.headers = headers.get();
  const Owned<rd_kafka_error_t> error(rd_kafka_produceva(handle, fields.data(), count));
  if (error != nullptr) return rd_kafka_error_code(error.get());
  static_cast<void>(headers.release());
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

}  // namespace once::kafka
