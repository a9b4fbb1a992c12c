// How rows, rounds and whatever else a log of outgoing messages knows become bytes. A round of some
// thousand rows is one value: numbers and sequences as differences, two or three bytes a row.
// Private to our stores; the first byte is the version. Pure functions; decoding answers kDataLoss
// for what encoding never produces.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/outgoing_log.h"

namespace once::stores {

// A row but for its number, which is its key. The time keeps microseconds.
std::string EncodeOutgoingRow(const OutgoingMessage& message, absl::Time put_at);
absl::StatusOr<OutgoingRow> DecodeOutgoingRow(std::int64_t number, std::string_view bytes);
// The same into `row`, whose memory it uses; after an error that is anything.
absl::Status DecodeOutgoingRow(std::int64_t number, std::string_view bytes, OutgoingRow& row);

// A round but for its lane and number. REQUIRES: placements ascend by numbers that are positive.
std::string EncodeRound(const OutgoingRound& round);
absl::StatusOr<OutgoingRound> DecodeRound(std::string_view bytes);

// Of what topic and key the order of a message is; 0: none is owed. A hash that is kept: the same
// in every process and version. Two orders of one hash wait for each other, and nothing worse.
std::uint64_t OrderOf(const OutgoingMessage& message);

struct ParkedNote {
  std::uint64_t order = 0;
  absl::Time parked_at = absl::InfinitePast();
  std::string reason;

  friend bool operator==(const ParkedNote&, const ParkedNote&) = default;
};
std::string EncodeParked(const ParkedNote& parked);
absl::StatusOr<ParkedNote> DecodeParked(std::string_view bytes);

// But for the number, which is its key.
std::string EncodeDiscarded(const DiscardedRow& discarded);
absl::StatusOr<DiscardedRow> DecodeDiscarded(std::int64_t number, std::string_view bytes);

std::string EncodeStream(const StreamProgress& stream);
absl::StatusOr<StreamProgress> DecodeStream(std::string_view bytes);

std::string EncodeOwed(const OwedVoid& owed);
absl::StatusOr<OwedVoid> DecodeOwed(std::string_view bytes);

}  // namespace once::stores
