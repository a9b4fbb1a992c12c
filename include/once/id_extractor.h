// An IdExtractor finds the producer's stable id in a message. Extractors are values; FirstOf chains
// them, first hit wins.
//
//   .id = once::HeaderId("payment-id")
//   .id = once::FirstOf({once::HeaderId("payment-id"), once::CloudEventsId()})
//
// An id must be the same on every resend of the logical message and differ between any two
// messages. That is assumption C1 of the guarantee, and no library can check it.
// Thread-safety: const and pure; may be called from several threads.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "once/message.h"

namespace once {

// The id as a view into the message or into `scratch`, valid while both live unchanged; nullopt
// when the message has no id of that kind. Length is judged by the caller (ValidateMessageId).
using IdFunction =
    std::function<std::optional<std::string_view>(const Message& message, std::string& scratch)>;

class IdExtractor {
 public:
  // `name` appears in logs and in the guarantee: "header payment-id".
  IdExtractor(std::string name, IdFunction extract);

  const std::string& name() const { return name_; }
  // Not OK for an extractor that could never find anything (a malformed JSON pointer, an empty
  // header name or chain); Consumer::Create refuses it with this error.
  const absl::Status& status() const { return status_; }
  // True when the id tells deliveries apart rather than messages (PositionId): protects from
  // redelivery only, not from a producer that sends twice.
  bool identifies_delivery() const { return identifies_delivery_; }
  std::optional<std::string_view> Extract(const Message& message, std::string& scratch) const {
    return extract_(message, scratch);
  }

  friend IdExtractor InvalidExtractor(std::string name, absl::Status status);
  friend IdExtractor PositionId();
  friend IdExtractor Sha256Of(IdExtractor inner);
  friend IdExtractor FirstOf(std::vector<IdExtractor> extractors);

 private:
  std::string name_;
  IdFunction extract_;
  absl::Status status_;
  bool identifies_delivery_ = false;
};

// The value of the last header of that name. A header with a null value counts as missing.
IdExtractor HeaderId(const std::string& header_name);

// CloudEvents, Kafka binding: `ce_source` and `ce_id`, both needed, since only the pair is unique
// (CloudEvents 1.0, "id"). Encoded injectively; often longer than an id may be: see Sha256Of.
IdExtractor CloudEventsId();

// The `id` header that Debezium's outbox event router sets.
IdExtractor DebeziumOutboxId();

// The `Idempotency-Key` header (IETF draft-ietf-httpapi-idempotency-key-header).
IdExtractor IdempotencyKeyId();

// The AMQP property `message_id`, RocketMQ's `KEYS`; the adapters show both as headers.
IdExtractor BrokerMessageId();

// A string or integer at an RFC 6901 JSON pointer into the value, e.g. "/order/id". A value that
// is not JSON, or has nothing or another type there, has no id.
IdExtractor JsonPointerId(const std::string& pointer);

// SHA-256 of key and value. Opt-in: two orders that are equal byte by byte become one.
IdExtractor ContentSha256Id();

// Partition and offset, compactly encoded; the topic is in the scope. Opt-in.
IdExtractor PositionId();

// What `inner` finds, digested with SHA-256 (32 bytes): for ids longer than kMessageIdBytesMax.
IdExtractor Sha256Of(IdExtractor inner);

// First hit wins.
IdExtractor FirstOf(std::vector<IdExtractor> extractors);

// The default of ConsumerOptions: CloudEvents, Debezium's outbox, Idempotency-Key, the broker's own
// message id, the `once-id` of once::Producer, in that order.
IdExtractor StandardIdHeaders();

}  // namespace once
