// Every value begins with the version of its layout, but for those of ids: there are millions of
// them, and the version of the store speaks for theirs.
#include "adapters/rocksdb/row_codec.h"

#include <limits>
#include <utility>

#include "adapters/rocksdb/status.h"
#include "src/stores/bytes.h"

namespace once::rocksdb {
namespace {

using stores::AppendBytes;
using stores::AppendInt;
using stores::AppendOptional;
using stores::ByteReader;

constexpr char kVersion = 1;

// What of an id's record follows its state.
constexpr std::uint8_t kStateBits = 0x0f;
constexpr std::uint8_t kHasFingerprint = 0x10;
constexpr std::uint8_t kHasAttempt = 0x20;
constexpr std::uint8_t kHasTimes = 0x40;

template <typename Int>
void AppendOrdered(std::string& out, Int value) {
  for (std::size_t i = sizeof(Int); i-- > 0;) {
    out.push_back(static_cast<char>(static_cast<unsigned char>((value >> (8 * i)) & 0xff)));
  }
}

void AppendText(std::string& out, std::string_view text) {
  AppendOrdered(out, static_cast<std::uint32_t>(text.size()));
  out.append(text);
}

constexpr auto kMicrosPast = std::numeric_limits<std::int64_t>::min();
constexpr auto kMicrosFuture = std::numeric_limits<std::int64_t>::max();

// Saturates, so that both infinities come back.
void AppendTime(std::string& out, absl::Time time) {
  AppendInt(out, std::int64_t{absl::ToUnixMicros(time)});
}

absl::Time TakeTime(ByteReader& reader) {
  const auto micros = reader.TakeInt<std::int64_t>();
  if (micros == kMicrosPast) return absl::InfinitePast();
  return micros == kMicrosFuture ? absl::InfiniteFuture() : absl::FromUnixMicros(micros);
}

void AppendFingerprint(std::string& out, const Fingerprint& fingerprint) {
  AppendInt(out, fingerprint.high);
  AppendInt(out, fingerprint.low);
}

Fingerprint TakeFingerprint(ByteReader& reader) {
  Fingerprint fingerprint;
  fingerprint.high = reader.TakeInt<std::uint64_t>();
  fingerprint.low = reader.TakeInt<std::uint64_t>();
  return fingerprint;
}

bool IsWhole(const ByteReader& reader) { return reader.is_ok() && reader.is_at_end(); }

}  // namespace

std::string Key(char table, std::string_view rest) { return std::string(1, table).append(rest); }

std::string IdKeyBytes(std::uint32_t scope, std::string_view id) {
  std::string key;
  key.reserve(sizeof scope + id.size());
  AppendOrdered(key, scope);
  return key.append(id);
}

std::string PositionKey(const PartitionKey& key) {
  std::string out(1, kPositionTable);
  AppendText(out, key.cluster);
  AppendText(out, key.group);
  AppendText(out, key.partition.topic);
  AppendOrdered(out, static_cast<std::uint32_t>(key.partition.partition));
  return out;
}

std::string SequenceKey(char table, std::int64_t sequence) {
  std::string key(1, table);
  AppendOrdered(key, static_cast<std::uint64_t>(sequence));
  return key;
}

absl::StatusOr<std::int64_t> SequenceOf(std::string_view key) {
  if (key.size() < sizeof(std::uint64_t)) return DamagedRow("the key of an outbox row");
  std::uint64_t sequence = 0;
  for (const char byte : key.substr(key.size() - sizeof sequence)) {
    sequence = sequence << 8 | static_cast<unsigned char>(byte);
  }
  return static_cast<std::int64_t>(sequence);
}

std::string LetterPrefix(std::uint32_t scope, std::string_view id) {
  std::string key(1, kLetterTable);
  AppendOrdered(key, scope);
  AppendText(key, id);
  return key;
}

std::string LetterKey(std::uint32_t scope, std::string_view id, std::int64_t sequence) {
  std::string key = LetterPrefix(scope, id);
  AppendOrdered(key, static_cast<std::uint64_t>(sequence));
  return key;
}

std::string EndOfPrefix(std::string prefix) {
  while (prefix.back() == '\xff') prefix.pop_back();
  prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
  return prefix;
}

std::string EncodeNumber(std::uint64_t number) {
  std::string out;
  AppendInt(out, number);
  return out;
}

absl::StatusOr<std::uint64_t> DecodeNumber(std::string_view bytes) {
  ByteReader reader(bytes);
  const auto number = reader.TakeInt<std::uint64_t>();
  if (!IsWhole(reader)) return DamagedRow("a number");
  return number;
}

std::string EncodePosition(const StoredPosition& position) {
  std::string out(1, kVersion);
  AppendBytes(out, position.key.cluster);
  AppendBytes(out, position.key.group);
  AppendBytes(out, position.key.partition.topic);
  AppendInt(out, position.key.partition.partition);
  AppendInt(out, position.stamp.position);
  AppendInt(out, position.stamp.revision);
  AppendInt(out, position.stamp.writer);
  AppendInt(out, position.reach);
  out.push_back(static_cast<char>(position.directive));
  out.push_back(position.last_applied ? 1 : 0);
  if (position.last_applied) {
    AppendInt(out, position.last_applied->offset);
    AppendInt(out, position.last_applied->timestamp_ms);
    AppendFingerprint(out, position.last_applied->fingerprint);
  }
  return out;
}

absl::StatusOr<StoredPosition> DecodePosition(std::string_view bytes) {
  ByteReader reader(bytes);
  StoredPosition position;
  const char version = reader.TakeInt<char>();
  position.key.cluster = reader.TakeBytes();
  position.key.group = reader.TakeBytes();
  position.key.partition.topic = reader.TakeBytes();
  position.key.partition.partition = reader.TakeInt<std::int32_t>();
  position.stamp.position = reader.TakeInt<std::int64_t>();
  position.stamp.revision = reader.TakeInt<std::int64_t>();
  position.stamp.writer = reader.TakeInt<std::uint64_t>();
  position.reach = reader.TakeInt<std::int64_t>();
  const auto directive = reader.TakeInt<std::uint8_t>();
  if (reader.TakeFlag()) {
    AppliedRecord applied;
    applied.offset = reader.TakeInt<std::int64_t>();
    applied.timestamp_ms = reader.TakeInt<std::int64_t>();
    applied.fingerprint = TakeFingerprint(reader);
    position.last_applied = applied;
  }
  if (version != kVersion || !IsWhole(reader) ||
      directive > static_cast<std::uint8_t>(PositionDirective::kLatest)) {
    return DamagedRow("a position");
  }
  position.directive = static_cast<PositionDirective>(directive);
  return position;
}

std::string EncodeRecord(const IdRecord& record) {
  const bool has_times =
      record.first_failed_at != absl::InfinitePast() || record.not_before != absl::InfinitePast();
  auto head = static_cast<std::uint8_t>(record.state);
  if (record.fingerprint.is_set()) head |= kHasFingerprint;
  if (record.attempt != 0) head |= kHasAttempt;
  if (has_times) head |= kHasTimes;
  std::string out(1, static_cast<char>(head));
  if (record.fingerprint.is_set()) AppendFingerprint(out, record.fingerprint);
  if (record.attempt != 0) AppendInt(out, std::int32_t{record.attempt});
  if (has_times) {
    AppendTime(out, record.first_failed_at);
    AppendTime(out, record.not_before);
  }
  return out;
}

absl::StatusOr<IdRecord> DecodeRecord(std::string_view bytes) {
  ByteReader reader(bytes);
  IdRecord record;
  const auto head = reader.TakeInt<std::uint8_t>();
  const auto state = static_cast<std::uint8_t>(head & kStateBits);
  if ((head & kHasFingerprint) != 0) record.fingerprint = TakeFingerprint(reader);
  if ((head & kHasAttempt) != 0) record.attempt = reader.TakeInt<std::int32_t>();
  if ((head & kHasTimes) != 0) {
    record.first_failed_at = TakeTime(reader);
    record.not_before = TakeTime(reader);
  }
  if (!IsWhole(reader) || (head & 0x80) != 0 ||
      state < static_cast<std::uint8_t>(IdState::kCompleted) ||
      state > static_cast<std::uint8_t>(IdState::kDying)) {
    return DamagedRow("the record of an id");
  }
  record.state = static_cast<IdState>(state);
  return record;
}

std::string EncodeClaim(const stores::ClaimRow& claim) {
  std::string out(1, kVersion);
  out.push_back(claim.fence ? 1 : 0);
  if (claim.fence) {
    AppendInt(out, claim.fence->incarnation);
    AppendInt(out, claim.fence->counter);
  }
  AppendTime(out, claim.lease_end);
  out.push_back(claim.is_begun ? 1 : 0);
  out.push_back(claim.may_have_run ? 1 : 0);
  out.push_back(claim.disposition ? 1 : 0);
  if (claim.disposition) out.push_back(static_cast<char>(*claim.disposition));
  AppendFingerprint(out, claim.fingerprint);
  return out;
}

absl::StatusOr<stores::ClaimRow> DecodeClaim(std::string_view bytes) {
  ByteReader reader(bytes);
  stores::ClaimRow claim;
  const char version = reader.TakeInt<char>();
  if (reader.TakeFlag()) {
    Fence fence;
    fence.incarnation = reader.TakeInt<std::uint64_t>();
    fence.counter = reader.TakeInt<std::uint64_t>();
    claim.fence = fence;
  }
  claim.lease_end = TakeTime(reader);
  claim.is_begun = reader.TakeFlag();
  claim.may_have_run = reader.TakeFlag();
  std::uint8_t disposition = 0;
  if (reader.TakeFlag()) {
    disposition = reader.TakeInt<std::uint8_t>();
    claim.disposition = static_cast<Disposition>(disposition);
  }
  claim.fingerprint = TakeFingerprint(reader);
  if (version != kVersion || !IsWhole(reader) ||
      disposition > static_cast<std::uint8_t>(Disposition::kManual)) {
    return DamagedRow("the claim of an id");
  }
  return claim;
}

std::string EncodeEntry(const OutboxEntry& entry) {
  std::string out(1, kVersion);
  out.push_back(static_cast<char>(entry.state));
  out.push_back(entry.is_kept ? 1 : 0);
  AppendInt(out, entry.ordinal);
  AppendBytes(out, entry.origin);
  AppendOptional(out, entry.payload);
  AppendBytes(out, entry.reason);
  AppendBytes(out, entry.scope);
  AppendBytes(out, entry.id);
  return out;
}

absl::StatusOr<OutboxEntry> DecodeEntry(std::string_view bytes) {
  ByteReader reader(bytes);
  OutboxEntry entry;
  const char version = reader.TakeInt<char>();
  const auto state = reader.TakeInt<std::uint8_t>();
  entry.is_kept = reader.TakeFlag();
  entry.ordinal = reader.TakeInt<std::int32_t>();
  entry.origin = reader.TakeBytes();
  entry.payload = reader.TakeOptional();
  entry.reason = reader.TakeBytes();
  entry.scope = reader.TakeBytes();
  entry.id = reader.TakeBytes();
  if (version != kVersion || !IsWhole(reader) ||
      state > static_cast<std::uint8_t>(stores::OutboxState::kHeld)) {
    return DamagedRow("an outbox row");
  }
  entry.state = static_cast<stores::OutboxState>(state);
  return entry;
}

std::string EncodeRedrives(const Redrives& redrives) {
  std::string out(1, kVersion);
  AppendInt(out, redrives.count);
  AppendInt(out, redrives.last_ordinal);
  return out;
}

absl::StatusOr<Redrives> DecodeRedrives(std::string_view bytes) {
  ByteReader reader(bytes);
  Redrives redrives;
  const char version = reader.TakeInt<char>();
  redrives.count = reader.TakeInt<std::int32_t>();
  redrives.last_ordinal = reader.TakeInt<std::int32_t>();
  if (version != kVersion || !IsWhole(reader)) return DamagedRow("the redrives of an id");
  return redrives;
}

}  // namespace once::rocksdb
