// Field by field, as bytes.h writes them.
#include "src/stores/outbox_codec.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "src/stores/bytes.h"

namespace once::stores {
namespace {

constexpr char kVersion = 1;

// Into memory that is there.
void TakeBytes(ByteReader& reader, std::string& into) {
  into.assign(reader.Take(reader.TakeInt<std::uint64_t>()));
}

void TakeOptional(ByteReader& reader, std::optional<std::string>& into) {
  if (!reader.TakeFlag()) {
    into.reset();
  } else {
    TakeBytes(reader, into ? *into : into.emplace());
  }
}

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

absl::Status DecodeMessage(std::string_view bytes, OutgoingMessage& message) {
  ByteReader reader(bytes);
  const char version = reader.TakeInt<char>();
  TakeBytes(reader, message.topic);
  message.partition = std::nullopt;
  if (reader.TakeFlag()) message.partition = reader.TakeInt<std::int32_t>();
  TakeOptional(reader, message.key);
  TakeOptional(reader, message.value);
  const auto count = reader.TakeInt<std::uint64_t>();
  std::vector<OwnedHeader>& headers = message.headers;
  std::size_t taken = 0;
  for (; taken < count && reader.is_ok(); ++taken) {
    if (taken == headers.size()) headers.emplace_back();
    TakeBytes(reader, headers[taken].name);
    TakeOptional(reader, headers[taken].value);
  }
  headers.resize(taken);
  if (version != kVersion || !reader.is_done()) {
    return absl::DataLossError("not an outbox message");
  }
  return absl::OkStatus();
}

absl::StatusOr<OutgoingMessage> DecodeMessage(std::string_view bytes) {
  OutgoingMessage message;
  if (absl::Status decoded = DecodeMessage(bytes, message); !decoded.ok()) return decoded;
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
  ByteReader reader(bytes);
  OutboxOrigin origin;
  const char version = reader.TakeInt<char>();
  origin.key.cluster = reader.TakeBytes();
  origin.key.group = reader.TakeBytes();
  origin.key.partition.topic = reader.TakeBytes();
  origin.key.partition.partition = reader.TakeInt<std::int32_t>();
  origin.offset = reader.TakeInt<std::int64_t>();
  origin.timestamp_ms = reader.TakeInt<std::int64_t>();
  // Letters of files from before they had a scope, and what is no letter, have none.
  const bool has_scope = reader.rest().size() > sizeof(std::int32_t);
  if (has_scope) origin.scope = reader.TakeBytes();
  origin.ordinal = reader.TakeInt<std::int32_t>();
  const bool is_as_written = reader.is_done() && has_scope == !origin.scope.empty();
  if (version != kVersion || !reader.is_ok() || !is_as_written) {
    return absl::DataLossError("not an outbox origin");
  }
  return origin;
}

}  // namespace once::stores
