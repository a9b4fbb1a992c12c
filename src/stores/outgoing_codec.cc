// Rounds as differences, everything else field by field, as bytes.h writes it.
#include "src/stores/outgoing_codec.h"

#include <limits>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "once/abseil.h"
#include "src/stores/bytes.h"
#include "src/stores/outbox_codec.h"

namespace once::stores {
namespace {

constexpr char kVersion = 1;
constexpr int kVarintBytesMax = 10;

absl::Status Damaged(std::string_view what) {
  return absl::DataLossError(std::string("not ").append(what).append(" of outgoing messages"));
}

void AppendVarint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>((value & 0x7f) | 0x80));
  out.push_back(static_cast<char>(value));
}

std::uint64_t TakeVarint(ByteReader& reader) {
  std::uint64_t value = 0;
  for (int i = 0; i < kVarintBytesMax; ++i) {
    const auto byte = reader.TakeInt<std::uint8_t>();
    value |= std::uint64_t{byte & 0x7fU} << (7 * i);
    if (byte < 0x80) return value;
  }
  reader.Require(false);
  return 0;
}

void AppendTime(std::string& out, absl::Time time) { AppendInt(out, absl::ToUnixMicros(time)); }
absl::Time TakeTime(ByteReader& reader) {
  return absl::FromUnixMicros(reader.TakeInt<std::int64_t>());
}

// A run of numbers of one partition. Which topic it is of, nobody needs to know here: two streams
// that happen to go on with the same number are the same to whoever reads it.
struct Run {
  std::int32_t partition = 0;
  std::uint64_t next = 0;

  friend bool operator==(const Run&, const Run&) = default;
  template <typename H>
  friend H AbslHashValue(H hash, const Run& run) {
    return H::combine(std::move(hash), run.partition, run.next);
  }
};

}  // namespace

std::string EncodeOutgoingRow(const OutgoingMessage& message, absl::Time put_at) {
  std::string out(1, kVersion);
  AppendTime(out, put_at);
  return out.append(EncodeMessage(message));
}

absl::Status DecodeOutgoingRow(std::int64_t number, std::string_view bytes, OutgoingRow& row) {
  ByteReader reader(bytes);
  const char version = reader.TakeInt<char>();
  row.number = number;
  row.put_at = TakeTime(reader);
  row.damage = absl::OkStatus();
  if (version != kVersion || !reader.is_ok()) return Damaged("a row");
  return DecodeMessage(reader.rest(), row.message).ok() ? absl::OkStatus() : Damaged("a row");
}

absl::StatusOr<OutgoingRow> DecodeOutgoingRow(std::int64_t number, std::string_view bytes) {
  OutgoingRow row;
  if (absl::Status decoded = DecodeOutgoingRow(number, bytes, row); !decoded.ok()) return decoded;
  return row;
}

std::string EncodeRound(const OutgoingRound& round) {
  std::string out(1, kVersion);
  AppendInt(out, round.epoch);
  AppendVarint(out, round.placements.size());
  absl::flat_hash_map<Run, std::uint64_t> runs;  // to their places, from 1
  std::uint64_t runs_count = 0;
  std::int64_t before = 0;
  for (const Placement& placement : round.placements) {
    AppendVarint(out, static_cast<std::uint64_t>(placement.number - before));
    before = placement.number;
    const Run run{.partition = placement.partition, .next = placement.sequence};
    std::uint64_t place = 0;
    if (const auto known = runs.find(run); known != runs.end()) {
      place = known->second;
      runs.erase(known);
    }
    AppendVarint(out, place);
    if (place == 0) {
      AppendVarint(out, static_cast<std::uint64_t>(placement.partition));
      AppendVarint(out, placement.sequence);
      place = ++runs_count;
    }
    runs[{.partition = run.partition, .next = run.next + 1}] = place;
  }
  return out;
}

absl::StatusOr<OutgoingRound> DecodeRound(std::string_view bytes) {
  ByteReader reader(bytes);
  OutgoingRound round;
  const char version = reader.TakeInt<char>();
  round.epoch = reader.TakeInt<std::uint64_t>();
  const std::uint64_t count = TakeVarint(reader);
  reader.Require(count <= reader.rest().size());
  std::vector<Run> runs;
  std::int64_t number = 0;
  for (std::uint64_t i = 0; i < count && reader.is_ok(); ++i) {
    const std::uint64_t step = TakeVarint(reader);
    constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    reader.Require(step > 0 && step <= kMax - static_cast<std::uint64_t>(number));
    std::uint64_t place = TakeVarint(reader);
    if (place == 0) {
      const std::uint64_t partition = TakeVarint(reader);
      const std::uint64_t sequence = TakeVarint(reader);
      reader.Require(partition <= std::numeric_limits<std::int32_t>::max() && sequence > 0);
      runs.push_back({.partition = static_cast<std::int32_t>(partition), .next = sequence});
      place = runs.size();
    }
    reader.Require(place <= runs.size());
    if (!reader.is_ok()) break;
    number += static_cast<std::int64_t>(step);
    Run& run = runs[place - 1];
    round.placements.push_back(
        {.number = number, .partition = run.partition, .sequence = run.next++});
  }
  if (version != kVersion || !reader.is_done()) return Damaged("a round");
  return round;
}

std::uint64_t OrderOf(const OutgoingMessage& message) {
  if (!message.key) return 0;
  std::uint64_t hash = 14695981039346656037U;  // FNV-1a, 64 bits
  const auto mix = [&hash](std::string_view text) {
    for (const char byte : text) {
      hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211U;
    }
  };
  mix(message.topic);
  mix(std::string_view("\0", 1));  // no topic has one
  mix(*message.key);
  return hash == 0 ? 1 : hash;
}

std::string EncodeParked(const ParkedNote& parked) {
  std::string out(1, kVersion);
  AppendInt(out, parked.order);
  AppendTime(out, parked.parked_at);
  AppendText(out, parked.reason);
  return out;
}

absl::StatusOr<ParkedNote> DecodeParked(std::string_view bytes) {
  ByteReader reader(bytes);
  const char version = reader.TakeInt<char>();
  ParkedNote parked{.order = reader.TakeInt<std::uint64_t>()};
  parked.parked_at = TakeTime(reader);
  parked.reason = std::string(reader.TakeText());
  if (version != kVersion || !reader.is_done()) return Damaged("a parked row");
  return parked;
}

std::string EncodeDiscarded(const DiscardedRow& discarded) {
  std::string out(1, kVersion);
  AppendTime(out, discarded.discarded_at);
  AppendText(out, discarded.topic);
  AppendText(out, discarded.id);
  AppendText(out, discarded.reason);
  return out;
}

absl::StatusOr<DiscardedRow> DecodeDiscarded(std::int64_t number, std::string_view bytes) {
  ByteReader reader(bytes);
  const char version = reader.TakeInt<char>();
  DiscardedRow discarded{.number = number};
  discarded.discarded_at = TakeTime(reader);
  discarded.topic = std::string(reader.TakeText());
  discarded.id = std::string(reader.TakeText());
  discarded.reason = std::string(reader.TakeText());
  if (version != kVersion || !reader.is_done()) return Damaged("a discarded row");
  return discarded;
}

std::string EncodeStream(const StreamProgress& stream) {
  std::string out(1, kVersion);
  AppendInt(out, stream.epoch);
  AppendText(out, stream.topic);
  AppendInt(out, stream.partition);
  AppendInt(out, stream.last);
  AppendInt(out, stream.first_offset);
  AppendInt(out, stream.last_offset);
  return out;
}

absl::StatusOr<StreamProgress> DecodeStream(std::string_view bytes) {
  ByteReader reader(bytes);
  StreamProgress stream;
  const char version = reader.TakeInt<char>();
  stream.epoch = reader.TakeInt<std::uint64_t>();
  stream.topic = std::string(reader.TakeText());
  stream.partition = reader.TakeInt<std::int32_t>();
  stream.last = reader.TakeInt<std::uint64_t>();
  stream.first_offset = reader.TakeInt<std::int64_t>();
  stream.last_offset = reader.TakeInt<std::int64_t>();
  if (version != kVersion || !reader.is_done()) return Damaged("a stream");
  return stream;
}

std::string EncodeOwed(const OwedVoid& owed) {
  std::string out(1, kVersion);
  AppendInt(out, owed.epoch);
  AppendText(out, owed.topic);
  AppendInt(out, owed.partition);
  AppendInt(out, owed.sequence);
  return out;
}

absl::StatusOr<OwedVoid> DecodeOwed(std::string_view bytes) {
  ByteReader reader(bytes);
  OwedVoid owed;
  const char version = reader.TakeInt<char>();
  owed.epoch = reader.TakeInt<std::uint64_t>();
  owed.topic = std::string(reader.TakeText());
  owed.partition = reader.TakeInt<std::int32_t>();
  owed.sequence = reader.TakeInt<std::uint64_t>();
  if (version != kVersion || !reader.is_done()) return Damaged("a void");
  return owed;
}

}  // namespace once::stores
