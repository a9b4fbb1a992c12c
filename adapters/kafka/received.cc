// Copies of small messages, and views into large ones.
#include "adapters/kafka/received.h"

#include <array>
#include <cassert>
#include <cstddef>
#include <cstring>
#include <deque>
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

// A message of the client that the batch keeps: what the parsing reader gets.
struct Slot {
  rd_kafka_message_t* message = nullptr;
  HeaderInterest* interest = nullptr;
};

using CopiedHeaders = std::span<const Header>;
static_assert(std::is_trivially_destructible_v<CopiedHeaders>);
static_assert(std::is_trivially_destructible_v<Header>);

constexpr HeaderReader kCopiedReader = {
    .count = [](const void* object) { return static_cast<const CopiedHeaders*>(object)->size(); },
    .at = [](const void* object,
             std::size_t index) { return (*static_cast<const CopiedHeaders*>(object))[index]; },
    .find_last = [](const void* object, std::string_view name) -> std::optional<Header> {
      const CopiedHeaders headers = *static_cast<const CopiedHeaders*>(object);
      for (std::size_t i = headers.size(); i-- > 0;) {
        if (headers[i].name == name) return headers[i];
      }
      return std::nullopt;
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

}  // namespace

struct Received::Buffers {
  Buffers(std::shared_ptr<const Client> owner, std::shared_ptr<HeaderInterest> readers,
          std::shared_ptr<ChunkPool> chunks)
      : client(std::move(owner)), interest(std::move(readers)), arena(std::move(chunks)) {}
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;
  ~Buffers() {
    for (const Slot& slot : kept) rd_kafka_message_destroy(slot.message);
  }

  std::shared_ptr<const Client> client;  // goes after the messages: an unreleased one blocks it
  const std::shared_ptr<HeaderInterest> interest;
  std::deque<Slot> kept;  // never moved: messages point to them
  Arena arena;
};

Received::Received(std::shared_ptr<const Client> client, std::shared_ptr<HeaderInterest> interest,
                   std::shared_ptr<ChunkPool> chunks)
    : buffers_(
          std::make_shared<Buffers>(std::move(client), std::move(interest), std::move(chunks))) {}

void Received::Reserve(std::size_t messages_max) {
  assert(empty());
  messages_.reserve(messages_max);
}

void Received::Add(rd_kafka_message_t* message, std::uint64_t assignment) {
  Owned<rd_kafka_message_t> owned(message);
  const bool is_read = buffers_->interest->is_noted();
  const bool is_kept = !is_read || message->key_len + message->len > kCopiedBytesMax;
  rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
  const std::int64_t timestamp = rd_kafka_message_timestamp(message, &type);
  MessageFields fields{
      .topic = TopicOf(*message, is_kept),
      .partition = message->partition,
      .offset = message->offset,
      .timestamp_ms = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : timestamp,
      .assignment = assignment,
      .key = ViewOf(message->key, message->key_len),
      .value = ViewOf(message->payload, message->len),
  };
  if (is_read) {
    fields.header_reader = &kCopiedReader;
    fields.headers_object = CopyHeaders(message);
  }
  if (!is_kept) {
    if (fields.key) fields.key = buffers_->arena.Copy(*fields.key);
    if (fields.value) fields.value = buffers_->arena.Copy(*fields.value);
    owned.reset();
  } else {
    const Slot& slot =
        buffers_->kept.emplace_back(Slot{.message = message, .interest = buffers_->interest.get()});
    (void)owned.release();
    if (!is_read) {
      fields.header_reader = &kParsingReader;
      fields.headers_object = &slot;
    }
  }
  messages_.emplace_back(fields);
}

// The client's own goes with the last message of a topic that is no longer assigned: one that the
// batch keeps holds it, for what follows too; otherwise it is copied. The topics of one poll are
// alive together, so that none is taken for another by its address.
std::string_view Received::TopicOf(const rd_kafka_message_t& message, bool is_kept) {
  if (message.rkt != last_topic_) {
    const std::string_view name = rd_kafka_topic_name(message.rkt);
    last_topic_name_ = is_kept ? name : buffers_->arena.Copy(name);
    last_topic_ = message.rkt;
  }
  return last_topic_name_;
}

// For kCopiedReader. The client forgets them.
const void* Received::CopyHeaders(rd_kafka_message_t* message) {
  Arena& arena = buffers_->arena;
  rd_kafka_headers_t* parsed = nullptr;
  if (rd_kafka_message_detach_headers(message, &parsed) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    static constexpr CopiedHeaders kNone;
    return &kNone;
  }
  const Owned<rd_kafka_headers_t> headers(parsed);
  const std::size_t count = rd_kafka_header_cnt(parsed);
  std::byte* const room = arena.Allocate(sizeof(CopiedHeaders) + count * sizeof(Header));
  auto* const copies = reinterpret_cast<Header*>(room + sizeof(CopiedHeaders));
  for (std::size_t i = 0; i < count; ++i) {
    const char* name = "";
    const void* value = nullptr;
    std::size_t size = 0;
    (void)rd_kafka_header_get_all(parsed, i, &name, &value, &size);
    Header* const copy = new (copies + i) Header{.name = CopyName(name, i), .value = std::nullopt};
    if (const auto bytes = ViewOf(value, size)) copy->value = arena.Copy(*bytes);
  }
  return new (room) CopiedHeaders(copies, count);
}

// Messages mostly have the same headers as the one before.
std::string_view Received::CopyName(const char* name, std::size_t place) {
  const bool is_known = place < last_names_.size();
  if (is_known && std::strcmp(last_names_[place].data(), name) == 0) return last_names_[place];
  const std::size_t size = std::strlen(name);
  auto* const copy = reinterpret_cast<char*>(buffers_->arena.Allocate(size + 1));
  std::memcpy(copy, name, size + 1);  // terminated, to be compared
  const std::string_view copied(copy, size);
  if (is_known) {
    last_names_[place] = copied;
  } else if (place == last_names_.size() && place < kNamesMax) {
    last_names_.push_back(copied);
  }
  return copied;
}

Batch Received::ToBatch() && {
  if (messages_.empty()) return {};
  return Batch(std::move(messages_), std::move(buffers_));
}

}  // namespace once::kafka
