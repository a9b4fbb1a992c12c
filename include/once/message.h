// A Message is a view of one delivery: where it came from, key, value and headers, all still in the
// broker client's receive buffer. It is what a handler gets. It cannot be copied by accident;
// OwnedMessage is the explicit copy, for whatever must outlive the handler's call.
//
//   absl::Status Book(const once::Message& message, once::Transaction& transaction) {
//     if (!message.value()) return absl::InvalidArgumentError("a tombstone is not an order");
//     …
//   }
//
// Not a message to send: that is OutgoingMessage (publisher.h).
// Thread-safety: immutable while a handler sees it, so reading from several threads is fine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace once {

// One header as it lies in the receive buffer. A null value differs from an empty one.
struct Header {
  std::string_view name;
  std::optional<std::string_view> value;
};

struct OwnedHeader {
  std::string name;
  std::optional<std::string> value;

  friend bool operator==(const OwnedHeader&, const OwnedHeader&) = default;
};

// How a Message reads headers that its source has not parsed yet: librdkafka parses them at the
// first look, so a message whose headers nobody reads never pays for them. All functions take the
// object of MessageFields::headers_object.
struct HeaderReader {
  std::size_t (*count)(const void* object);
  // REQUIRES: index < count(object).
  Header (*at)(const void* object, std::size_t index);
  // The last header of that name, as Kafka clients resolve repeated names.
  std::optional<Header> (*find_last)(const void* object, std::string_view name);
};

// What a source says about one delivery. All views must outlive the Message.
struct MessageFields {
  std::string_view topic;
  std::int32_t partition = 0;
  std::int64_t offset = 0;         // log brokers: the offset; queue brokers: a delivery tag
  std::int64_t timestamp_ms = -1;  // record time, milliseconds since the Unix epoch; -1 unknown
  std::uint64_t assignment = 0;    // the numbered assignment under which it was delivered
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
  const HeaderReader* header_reader = nullptr;  // null: no headers
  const void* headers_object = nullptr;
};

// What the engine knows about the delivery at the moment the handler is invoked.
struct DeliveryContext {
  std::string_view id;     // the message id, its own bytes
  std::string_view scope;  // the dedup scope; (scope, id) is the idempotency key
  int attempt = 1;         // 1-based, counts handler invocations
  bool maybe_repeated = false;
  const std::stop_token* cancellation = nullptr;  // null: never cancelled
};

class Message {
 public:
  explicit Message(const MessageFields& fields) : fields_(fields) {}
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  Message(Message&&) = default;
  Message& operator=(Message&&) = default;

  std::string_view topic() const { return fields_.topic; }
  std::int32_t partition() const { return fields_.partition; }
  std::int64_t offset() const { return fields_.offset; }
  std::int64_t timestamp_ms() const { return fields_.timestamp_ms; }
  // Record time; absl::InfinitePast() when the source does not know it.
  absl::Time timestamp() const;
  std::uint64_t assignment() const { return fields_.assignment; }
  const std::optional<std::string_view>& key() const { return fields_.key; }
  const std::optional<std::string_view>& value() const { return fields_.value; }

  std::size_t header_count() const;
  // REQUIRES: index < header_count().
  Header header(std::size_t index) const;
  // The last header of that name (case-sensitive); nullopt when there is none.
  std::optional<Header> FindHeader(std::string_view name) const;

  // Set while a handler runs; empty and 1 otherwise.
  std::string_view id() const { return context_.id; }
  std::string_view scope() const { return context_.scope; }
  int attempt() const { return context_.attempt; }
  // True when an earlier invocation for this id was begun and nobody knows how it ended: its effect
  // may have happened. Plain handlers only; a transaction that ended so was rolled back. A redriven
  // message begins anew: whoever redrives it has said that it may run.
  bool maybe_repeated() const { return context_.maybe_repeated; }
  // Names (scope, id) to a downstream that deduplicates by itself: SHA-256 of both, 64 hex digits,
  // the same on every attempt, in every process.
  std::string idempotency_key() const;
  // Stop requested: the handler's deadline is over, its partition is taken away, its claim is lost,
  // or the consumer stops too late for it. Whoever heeds it returns an error, which is an attempt
  // like any other; whoever does not is waited for.
  std::stop_token cancellation() const;

  // For the engine: what attempt() and its siblings answer from now on.
  void SetContext(const DeliveryContext& context) { context_ = context; }

 private:
  MessageFields fields_;
  DeliveryContext context_;
};

// A copy that owns all its bytes. Copied on purpose: a message that waits must not pin the broker's
// receive buffer.
class OwnedMessage {
 public:
  explicit OwnedMessage(const Message& message);
  OwnedMessage(const OwnedMessage&) = delete;
  OwnedMessage& operator=(const OwnedMessage&) = delete;

  // Valid as long as this object lives.
  Message& message() { return view_; }
  const Message& message() const { return view_; }
  // Bytes of key, value and headers.
  std::size_t size_bytes() const;

 private:
  std::string topic_;
  std::optional<std::string> key_;
  std::optional<std::string> value_;
  std::vector<OwnedHeader> headers_;
  Message view_;
};

// Copies every header of `message`, in order.
std::vector<OwnedHeader> CopyHeaders(const Message& message);

// The reader over a `std::vector<OwnedHeader>`, for fakes and for messages built by hand.
const HeaderReader* OwnedHeaderReader();

}  // namespace once
