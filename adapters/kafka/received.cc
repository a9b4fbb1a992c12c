// Views into librdkafka's messages.
#include "adapters/kafka/received.h"

#include <array>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

namespace once::kafka {
namespace {

std::optional<std::string_view> ViewOf(const void* bytes, std::size_t size) {
  if (bytes == nullptr) return std::nullopt;
  return std::string_view(static_cast<const char*>(bytes), size);
}

rd_kafka_headers_t* HeadersOf(const void* object) {
  static std::array<std::mutex, 16> parsing;
  const auto* message = static_cast<const rd_kafka_message_t*>(object);
  const std::size_t slot = std::hash<const void*>{}(object) / 64 % parsing.size();
  const std::lock_guard<std::mutex> lock(parsing[slot]);
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return nullptr;
  return headers;
}

std::optional<Header> HeaderAt(const rd_kafka_headers_t* headers, std::size_t index) {
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  if (rd_kafka_header_get_all(headers, index, &name, &value, &size) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return std::nullopt;
  }
  return Header{.name = name, .value = ViewOf(value, size)};
}

std::size_t CountHeaders(const void* object) {
  const rd_kafka_headers_t* headers = HeadersOf(object);
  return headers == nullptr ? 0 : rd_kafka_header_cnt(headers);
}

Header HeaderOf(const void* object, std::size_t index) {
  const rd_kafka_headers_t* headers = HeadersOf(object);
  if (headers == nullptr) return {};
  return HeaderAt(headers, index).value_or(Header{});
}

// Not rd_kafka_header_get_last: that needs a terminated name.
std::optional<Header> FindLastHeader(const void* object, std::string_view name) {
  const rd_kafka_headers_t* headers = HeadersOf(object);
  if (headers == nullptr) return std::nullopt;
  for (std::size_t index = rd_kafka_header_cnt(headers); index-- > 0;) {
    const std::optional<Header> header = HeaderAt(headers, index);
    if (header.has_value() && header->name == name) return header;
  }
  return std::nullopt;
}

constexpr HeaderReader kMessageHeaderReader = {
    .count = CountHeaders, .at = HeaderOf, .find_last = FindLastHeader};

}  // namespace

const HeaderReader* MessageHeaderReader() { return &kMessageHeaderReader; }

struct Received::Buffers {
  explicit Buffers(std::shared_ptr<const Client> owner) : client(std::move(owner)) {}
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;
  ~Buffers() {
    for (rd_kafka_message_t* message : messages) rd_kafka_message_destroy(message);
  }

  std::shared_ptr<const Client> client;  // goes after the messages: an unreleased one blocks it
  std::vector<rd_kafka_message_t*> messages;
};

Received::Received(std::shared_ptr<const Client> client)
    : buffers_(std::make_shared<Buffers>(std::move(client))) {}

void Received::Reserve(std::size_t more) {
  messages_.reserve(messages_.size() + more);
  buffers_->messages.reserve(buffers_->messages.size() + more);
}

void Received::Add(rd_kafka_message_t* message, std::uint64_t assignment) {
  buffers_->messages.push_back(message);
  if (message->rkt != last_topic_) {
    last_topic_ = message->rkt;
    last_topic_name_ = rd_kafka_topic_name(message->rkt);
  }
  rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
  const std::int64_t timestamp = rd_kafka_message_timestamp(message, &type);
  messages_.emplace_back(
      MessageFields{.topic = last_topic_name_,
                    .partition = message->partition,
                    .offset = message->offset,
                    .timestamp_ms = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : timestamp,
                    .assignment = assignment,
                    .key = ViewOf(message->key, message->key_len),
                    .value = ViewOf(message->payload, message->len),
                    .header_reader = MessageHeaderReader(),
                    .headers_object = message});
}

Batch Received::ToBatch() && {
  if (messages_.empty()) return {};
  return Batch(std::move(messages_), std::move(buffers_));
}

}  // namespace once::kafka
