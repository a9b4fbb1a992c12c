// Message and OwnedMessage: reading headers through the source's reader, and the deep copy.
#include "once/message.h"

#include <algorithm>

#include "once/batch.h"
#include "once/message_id.h"

namespace once {
namespace {

const std::vector<OwnedHeader>& AsVector(const void* object) {
  return *static_cast<const std::vector<OwnedHeader>*>(object);
}

Header View(const OwnedHeader& header) {
  Header view{.name = header.name, .value = std::nullopt};
  if (header.value) view.value = *header.value;
  return view;
}

std::optional<std::string> Copy(const std::optional<std::string_view>& view) {
  if (!view) return std::nullopt;
  return std::string(*view);
}

std::optional<std::string_view> View(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  return std::string_view(*text);
}

}  // namespace

const HeaderReader* OwnedHeaderReader() {
  static constexpr HeaderReader kReader = {
      .count = [](const void* object) { return AsVector(object).size(); },
      .at = [](const void* object, std::size_t index) { return View(AsVector(object)[index]); },
      .find_last = [](const void* object, std::string_view name) -> std::optional<Header> {
        const std::vector<OwnedHeader>& headers = AsVector(object);
        const auto found =
            std::find_if(headers.rbegin(), headers.rend(),
                         [&](const OwnedHeader& header) { return header.name == name; });
        return found == headers.rend() ? std::nullopt : std::optional(View(*found));
      }};
  return &kReader;
}

absl::Time Message::timestamp() const {
  return fields_.timestamp_ms < 0 ? absl::InfinitePast()
                                  : absl::FromUnixMillis(fields_.timestamp_ms);
}

std::string Message::idempotency_key() const {
  return IdempotencyKey({.scope = context_.scope, .id = context_.id});
}

std::stop_token Message::cancellation() const {
  return context_.cancellation == nullptr ? std::stop_token() : *context_.cancellation;
}

std::size_t Message::header_count() const {
  return fields_.header_reader == nullptr ? 0
                                          : fields_.header_reader->count(fields_.headers_object);
}

Header Message::header(std::size_t index) const {
  return fields_.header_reader->at(fields_.headers_object, index);
}

std::optional<Header> Message::FindHeader(std::string_view name) const {
  if (fields_.header_reader == nullptr) return std::nullopt;
  return fields_.header_reader->find_last(fields_.headers_object, name);
}

std::vector<OwnedHeader> CopyHeaders(const Message& message) {
  std::vector<OwnedHeader> headers;
  const std::size_t count = message.header_count();
  headers.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const Header header = message.header(i);
    headers.push_back({.name = std::string(header.name), .value = Copy(header.value)});
  }
  return headers;
}

OwnedMessage::OwnedMessage(const Message& message)
    : topic_(message.topic()),
      key_(Copy(message.key())),
      value_(Copy(message.value())),
      headers_(CopyHeaders(message)),
      view_({.topic = topic_,
             .partition = message.partition(),
             .offset = message.offset(),
             .timestamp_ms = message.timestamp_ms(),
             .assignment = message.assignment(),
             .key = View(key_),
             .value = View(value_),
             .header_reader = OwnedHeaderReader(),
             .headers_object = &headers_}) {}

std::size_t OwnedMessage::size_bytes() const {
  std::size_t bytes = (key_ ? key_->size() : 0) + (value_ ? value_->size() : 0);
  for (const OwnedHeader& header : headers_) {
    bytes += header.name.size() + (header.value ? header.value->size() : 0);
  }
  return bytes;
}

}  // namespace once
