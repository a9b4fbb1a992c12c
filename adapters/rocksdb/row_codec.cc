// Every value begins with the version of its layout.
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
// Of position rows. Those of version 1, from format 2, know no log time.
constexpr char kPositionVersion = 2;

template <typename Int>
void AppendOrdered(std::string& out, Int value) {
  for (std::size_t i = sizeof(Int); i-- > 0;) {
    out.push_back(static_cast<char>(static_cast<unsigned char>((value >> (8 * i)) & 0xff)));
  }
}

// REQUIRES: key.size() >= sizeof(Int).
template <typename Int>
Int TakeOrdered(std::string_view key) {
  Int value = 0;
  for (const char byte : key.substr(0, sizeof value)) {
    value = static_cast<Int>(value << 8 | static_cast<unsigned char>(byte));
  }
  return value;
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

bool IsWhole(const ByteReader& reader) { return reader.is_done(); }

}  // namespace

std::string Key(char table, std::string_view rest) { return std::string(1, table).append(rest); }

std::string SegmentKey(std::uint64_t segment) {
  std::string key;
  AppendOrdered(key, segment);
  return key;
}

absl::StatusOr<std::uint64_t> SegmentOf(std::string_view key) {
  if (key.size() != sizeof(std::uint64_t)) return DamagedRow("the key of a segment");
  return TakeOrdered<std::uint64_t>(key);
}

std::string RunPrefix(std::uint32_t run) {
  std::string key;
  AppendOrdered(key, run);
  return key;
}

std::string PageKey(std::uint32_t run, std::uint32_t page) {
  std::string key = RunPrefix(run);
  AppendOrdered(key, page);
  return key;
}

absl::StatusOr<std::uint32_t> RunOf(std::string_view key) {
  if (key.size() != 2 * sizeof(std::uint32_t)) return DamagedRow("the key of a run's page");
  return TakeOrdered<std::uint32_t>(key);
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
  return static_cast<std::int64_t>(
      TakeOrdered<std::uint64_t>(key.substr(key.size() - sizeof(std::uint64_t))));
}

std::string LetterPrefix(const IdKey& key) {
  std::string out(1, kLetterTable);
  AppendText(out, EncodeIdKey(key));
  return out;
}

std::string LetterKey(const IdKey& key, std::int64_t sequence) {
  std::string out = LetterPrefix(key);
  AppendOrdered(out, static_cast<std::uint64_t>(sequence));
  return out;
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
  std::string out(1, kPositionVersion);
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
    AppendInt(out, position.last_applied->log_time_ms);
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
    if (version == kPositionVersion) applied.log_time_ms = reader.TakeInt<std::int64_t>();
    position.last_applied = applied;
  }
  const bool is_known = version == kPositionVersion || version == kVersion;
  if (!is_known || !IsWhole(reader) ||
      directive > static_cast<std::uint8_t>(PositionDirective::kLatest)) {
    return DamagedRow("a position");
  }
  position.directive = static_cast<PositionDirective>(directive);
  return position;
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
