// Integers are little-endian, lengths have eight bytes; a field that may be null has a byte in
// front.
#include "src/stores/outbox_codec.h"

#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

namespace once::stores {
namespace {

constexpr char kVersion = 1;

template <typename Int>
void AppendInt(std::string& out, Int value) {
  auto bits = static_cast<std::make_unsigned_t<Int>>(value);
  for (std::size_t i = 0; i < sizeof(Int); ++i) {
    out.push_back(static_cast<char>(static_cast<unsigned char>((bits >> (8 * i)) & 0xff)));
  }
}

void AppendBytes(std::string& out, std::string_view bytes) {
  AppendInt(out, std::uint64_t{bytes.size()});
  out.append(bytes);
}

void AppendOptional(std::string& out, const std::optional<std::string>& bytes) {
  out.push_back(bytes ? 1 : 0);
  if (bytes) AppendBytes(out, *bytes);
}

// Takes values off the front. The first thing that is wrong makes it fail for good.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  bool is_ok() const { return is_ok_; }
  bool is_at_end() const { return rest_.empty(); }
  std::size_t left() const { return rest_.size(); }

  template <typename Int>
  Int TakeInt() {
    const std::string_view bytes = TakeRaw(sizeof(Int));
    std::make_unsigned_t<Int> bits = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      bits |= static_cast<std::make_unsigned_t<Int>>(
          static_cast<std::make_unsigned_t<Int>>(static_cast<unsigned char>(bytes[i])) << (8 * i));
    }
    return static_cast<Int>(bits);
  }

  bool TakeFlag() {
    const auto flag = TakeInt<std::uint8_t>();
    if (flag > 1) is_ok_ = false;
    return flag == 1;
  }

  std::string TakeBytes() { return std::string(TakeRaw(TakeInt<std::uint64_t>())); }

  std::optional<std::string> TakeOptional() {
    return TakeFlag() ? std::optional(TakeBytes()) : std::nullopt;
  }

 private:
  std::string_view TakeRaw(std::uint64_t size) {
    if (!is_ok_ || size > rest_.size()) {
      is_ok_ = false;
      return {};
    }
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  std::string_view rest_;
  bool is_ok_ = true;
};

}  // namespace

std::string EncodeMessage(const OutgoingMessage& message) {
  std::string out(1, kVersion);
  AppendBytes(out, message.topic);
  out.push_back(message.partition ? 1 : 0);
  if (message.partition) AppendInt(out, *message.partition);
  AppendOptional(out, message.key);
  AppendOptional(out, message.value);
  AppendInt(out, std::uint64_t{message.headers.size()});
  for (const OwnedHeader& header : message.headers) {
    AppendBytes(out, header.name);
    AppendOptional(out, header.value);
  }
  return out;
}

absl::StatusOr<OutgoingMessage> DecodeMessage(std::string_view bytes) {
  Reader reader(bytes);
  OutgoingMessage message;
  const char version = reader.TakeInt<char>();
  message.topic = reader.TakeBytes();
  if (reader.TakeFlag()) message.partition = reader.TakeInt<std::int32_t>();
  message.key = reader.TakeOptional();
  message.value = reader.TakeOptional();
  const auto headers = reader.TakeInt<std::uint64_t>();
  for (std::uint64_t i = 0; i < headers && reader.is_ok(); ++i) {
    std::string name = reader.TakeBytes();
    message.headers.push_back({.name = std::move(name), .value = reader.TakeOptional()});
  }
  if (version != kVersion || !reader.is_ok() || !reader.is_at_end()) {
    return absl::DataLossError("not an outbox message");
  }
  return message;
}

std::string EncodeOrigin(const OutboxOrigin& origin) {
  std::string out(1, kVersion);
  AppendBytes(out, origin.key.cluster);
  AppendBytes(out, origin.key.group);
  AppendBytes(out, origin.key.partition.topic);
  AppendInt(out, origin.key.partition.partition);
  AppendInt(out, origin.offset);
  AppendInt(out, origin.timestamp_ms);
  if (!origin.scope.empty()) AppendBytes(out, origin.scope);
  AppendInt(out, origin.ordinal);
  return out;
}

absl::StatusOr<OutboxOrigin> DecodeOrigin(std::string_view bytes) {
  Reader reader(bytes);
  OutboxOrigin origin;
  const char version = reader.TakeInt<char>();
  origin.key.cluster = reader.TakeBytes();
  origin.key.group = reader.TakeBytes();
  origin.key.partition.topic = reader.TakeBytes();
  origin.key.partition.partition = reader.TakeInt<std::int32_t>();
  origin.offset = reader.TakeInt<std::int64_t>();
  origin.timestamp_ms = reader.TakeInt<std::int64_t>();
  // Letters of files from before they had a scope, and what is no letter, have none.
  const bool has_scope = reader.left() > sizeof(std::int32_t);
  if (has_scope) origin.scope = reader.TakeBytes();
  origin.ordinal = reader.TakeInt<std::int32_t>();
  const bool is_as_written = reader.is_at_end() && has_scope == !origin.scope.empty();
  if (version != kVersion || !reader.is_ok() || !is_as_written) {
    return absl::DataLossError("not an outbox origin");
  }
  return origin;
}

}  // namespace once::stores
