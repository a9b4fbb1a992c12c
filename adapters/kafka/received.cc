// Views into librdkafka's messages.
#include "adapters/kafka/received.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "adapters/kafka/handles.h"

namespace once::kafka {
namespace {

std::optional<std::string_view> ViewOf(const void* bytes, std::size_t size) {
  if (bytes == nullptr) return std::nullopt;
  return std::string_view(static_cast<const char*>(bytes), size);
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

// One message of the client: what the header readers get.
struct Slot {
  rd_kafka_message_t* message = nullptr;
  HeaderInterest* interest = nullptr;
  std::span<const Header> copied;
};

// Headers that were copied when the message came.
constexpr HeaderReader kCopiedReader = {
    .count = [](const void* object) { return static_cast<const Slot*>(object)->copied.size(); },
    .at = [](const void* object,
             std::size_t index) { return static_cast<const Slot*>(object)->copied[index]; },
    .find_last = [](const void* object, std::string_view name) -> std::optional<Header> {
      const std::span<const Header> headers = static_cast<const Slot*>(object)->copied;
      const auto found = std::find_if(headers.rbegin(), headers.rend(),
                                      [name](const Header& header) { return header.name == name; });
      return found == headers.rend() ? std::nullopt : std::optional(*found);
    }};

// librdkafka parses headers at the first look and writes them into the message; that is serialised,
// so that several threads may read one message.
rd_kafka_headers_t* ParsedHeaders(const void* object) {
  static std::array<std::mutex, 16> parsing;
  const auto* slot = static_cast<const Slot*>(object);
  slot->interest->Note();
  const std::size_t lane = std::hash<const void*>{}(object) / sizeof(Slot) % parsing.size();
  const std::lock_guard<std::mutex> lock(parsing[lane]);
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(slot->message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return nullptr;
  }
  return headers;
}

// Not rd_kafka_header_get_last: that needs a terminated name.
std::optional<Header> FindLastParsed(const void* object, std::string_view name) {
  const rd_kafka_headers_t* headers = ParsedHeaders(object);
  if (headers == nullptr) return std::nullopt;
  for (std::size_t index = rd_kafka_header_cnt(headers); index-- > 0;) {
    const std::optional<Header> header = HeaderAt(headers, index);
    if (header.has_value() && header->name == name) return header;
  }
  return std::nullopt;
}

constexpr HeaderReader kParsingReader = {
    .count =
        [](const void* object) {
          const rd_kafka_headers_t* headers = ParsedHeaders(object);
          return headers == nullptr ? 0 : rd_kafka_header_cnt(headers);
        },
    .at =
        [](const void* object, std::size_t index) {
          const rd_kafka_headers_t* headers = ParsedHeaders(object);
          return headers == nullptr ? Header{} : HeaderAt(headers, index).value_or(Header{});
        },
    .find_last = FindLastParsed};

// Copies of headers, one behind the other in large chunks.
class HeaderCopies {
 public:
  // Takes the headers out of `message`.
  std::span<const Header> Take(rd_kafka_message_t* message) {
    rd_kafka_headers_t* parsed = nullptr;
    if (rd_kafka_message_detach_headers(message, &parsed) != RD_KAFKA_RESP_ERR_NO_ERROR) return {};
    const Owned<rd_kafka_headers_t> headers(parsed);
    const std::size_t count = rd_kafka_header_cnt(parsed);
    auto* copies = reinterpret_cast<Header*>(Allocate(count * sizeof(Header)));
    for (std::size_t i = 0; i < count; ++i) {
      const Header header = HeaderAt(parsed, i).value_or(Header{});
      new (copies + i) Header{.name = Copy(header.name), .value = std::nullopt};
      if (header.value) copies[i].value = Copy(*header.value);
    }
    return {copies, count};
  }

 private:
  static constexpr std::size_t kChunkBytes = 64 * 1024;
  static_assert(std::is_trivially_destructible_v<Header>);

  std::byte* Allocate(std::size_t size) {
    constexpr std::size_t kAlignment = alignof(Header);
    size = (size + kAlignment - 1) / kAlignment * kAlignment;
    if (size > left_) {
      left_ = std::max(size, kChunkBytes);
      next_ = chunks_.emplace_back(std::make_unique_for_overwrite<std::byte[]>(left_)).get();
    }
    std::byte* const room = next_;
    next_ += size;
    left_ -= size;
    return room;
  }

  std::string_view Copy(std::string_view bytes) {
    if (bytes.empty()) return "";  // not null, as a missing value is
    auto* copy = reinterpret_cast<char*>(Allocate(bytes.size()));
    std::memcpy(copy, bytes.data(), bytes.size());
    return {copy, bytes.size()};
  }

  std::vector<std::unique_ptr<std::byte[]>> chunks_;
  std::byte* next_ = nullptr;
  std::size_t left_ = 0;
};

}  // namespace

struct Received::Buffers {
  Buffers(std::shared_ptr<const Client> owner, std::shared_ptr<HeaderInterest> readers)
      : client(std::move(owner)), interest(std::move(readers)) {}
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;
  ~Buffers() {
    for (const Slot& slot : slots) rd_kafka_message_destroy(slot.message);
  }

  std::shared_ptr<const Client> client;  // goes after the messages: an unreleased one blocks it
  const std::shared_ptr<HeaderInterest> interest;
  std::vector<Slot> slots;  // never moved once messages point to them
  HeaderCopies headers;
};

Received::Received(std::shared_ptr<const Client> client, std::shared_ptr<HeaderInterest> interest)
    : buffers_(std::make_shared<Buffers>(std::move(client), std::move(interest))) {}

void Received::Reserve(std::size_t messages_max) {
  assert(empty());
  messages_.reserve(messages_max);
  buffers_->slots.reserve(messages_max);
}

void Received::Add(rd_kafka_message_t* message, std::uint64_t assignment) {
  assert(buffers_->slots.size() < buffers_->slots.capacity());
  const bool is_copied = buffers_->interest->is_noted();
  const Slot& slot = buffers_->slots.emplace_back(
      Slot{.message = message,
           .interest = buffers_->interest.get(),
           .copied = is_copied ? buffers_->headers.Take(message) : std::span<const Header>()});
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
                    .header_reader = is_copied ? &kCopiedReader : &kParsingReader,
                    .headers_object = &slot});
}

Batch Received::ToBatch() && {
  if (messages_.empty()) return {};
  return Batch(std::move(messages_), std::move(buffers_));
}

}  // namespace once::kafka
