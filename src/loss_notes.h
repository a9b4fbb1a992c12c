// The notes in which a store keeps what is known of streams: their keys and values. A partition has
// one of its own, one that lists the streams whose missing numbers are still waited for, and per
// stream one that changes with every message and, where anything is missing, one with that. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "once/position.h"

namespace once {

enum class LossNoteKind : char {
  kPartition = 'p',
  kWaiting = 'w',
  kHead = 's',    // StreamState::EncodeHead()
  kLosses = 'g',  // StreamState::EncodeLosses()
  kOrders = 'f',  // what an operator wants forgotten; the partition's owner clears it
};

// Of all partitions, all notes of this kind.
std::string LossNotePrefix(LossNoteKind kind);
// Of one partition; followed by a packed stream for kHead and kLosses, by nothing for the others.
std::string LossNoteKey(LossNoteKind kind, const PartitionKey& partition);

struct LossNoteName {
  LossNoteKind kind = LossNoteKind::kPartition;
  PartitionKey partition;
  std::string_view stream;  // packed; points into the key
};
// nullopt: not one of these keys.
std::optional<LossNoteName> ParseLossNoteKey(std::string_view key);

// How a partition is read.
struct PartitionProgress {
  std::int64_t began = 0;     // from here on every record was read, or is missing
  std::int64_t position = 0;  // of the row, when this was written
  std::uint32_t era = 0;      // grows whenever an order moves the position ahead
  std::uint64_t missing = 0;  // reported and not found, of all streams

  friend bool operator==(const PartitionProgress&, const PartitionProgress&) = default;
};
std::string EncodeProgress(const PartitionProgress& progress);
std::optional<PartitionProgress> DecodeProgress(std::string_view bytes);

// Packed streams, or whatever else is short.
std::string EncodeNames(const std::vector<std::string>& names);
std::optional<std::vector<std::string>> DecodeNames(std::string_view bytes);

}  // namespace once
