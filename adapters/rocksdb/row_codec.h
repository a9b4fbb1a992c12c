// The store's rows as keys and values.
//
//   once_segments  number            → segment of the log of ids
//   once_open      scope, id         → open row of that log
//   once_runs      run, page         → page of a sorted run
//   default        one byte that names the table, then
//     m name                         → format, store, opened, manifest, outgoing
//     p cluster, group, topic, number  → position
//     v scope, id                    → result of a completed claim
//     o sequence                     → outbox row
//     g origin                       → its sequence; for ever
//     w sequence                     → (nothing) it waits for the relay
//     k sequence                     → (nothing) it is a letter that is kept
//     l scope, id, sequence          → (nothing) the same by id
//     r scope, id                    → redrives of that id
//     n note                         → what the engine remembers under that key
//     x number                       → outgoing message
//     y fact                         → what their log knows (src/stores/single_lane_log.h)
//
// Numbers in keys are big-endian, so that they are in order. Pure functions; decoding answers
// kDataLoss for what encoding never produces.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "once/message_id.h"
#include "once/operations.h"
#include "once/outbox.h"
#include "once/position.h"
#include "once/transaction.h"
#include "src/stores/rows.h"

namespace once::rocksdb {

inline constexpr char kMetaTable = 'm';
inline constexpr char kPositionTable = 'p';
inline constexpr char kResultTable = 'v';
inline constexpr char kOutboxTable = 'o';
inline constexpr char kOriginTable = 'g';
inline constexpr char kWaitingTable = 'w';
inline constexpr char kKeptTable = 'k';
inline constexpr char kLetterTable = 'l';
inline constexpr char kRedriveTable = 'r';
inline constexpr char kNoteTable = 'n';
inline constexpr char kOutgoingTable = 'x';
inline constexpr char kOutgoingFactTable = 'y';

// Of kMetaTable: the greatest number of an outgoing message when messages were last dropped.
inline constexpr const char* kLastOutgoing = "outgoing";

// `table` in front of `rest`.
std::string Key(char table, std::string_view rest);

std::string SegmentKey(std::uint64_t segment);
absl::StatusOr<std::uint64_t> SegmentOf(std::string_view key);
std::string RunPrefix(std::uint32_t run);
std::string PageKey(std::uint32_t run, std::uint32_t page);
absl::StatusOr<std::uint32_t> RunOf(std::string_view key);

std::string PositionKey(const PartitionKey& key);

// Of the tables of outbox rows, those that wait and those that are kept, and of outgoing messages.
std::string SequenceKey(char table, std::int64_t sequence);
absl::StatusOr<std::int64_t> SequenceOf(std::string_view key);
std::string LetterPrefix(const IdKey& key);
std::string LetterKey(const IdKey& key, std::int64_t sequence);

// The first key that does not begin with `prefix`. REQUIRES: a byte of it is not 0xff.
std::string EndOfPrefix(std::string prefix);

std::string EncodeNumber(std::uint64_t number);
absl::StatusOr<std::uint64_t> DecodeNumber(std::string_view bytes);

std::string EncodePosition(const StoredPosition& position);
absl::StatusOr<StoredPosition> DecodePosition(std::string_view bytes);

struct OutboxEntry {
  stores::OutboxState state = stores::OutboxState::kPending;
  bool is_kept = false;                // a letter whose payload stays after publication
  std::int32_t ordinal = 0;            // OutboxOrigin::ordinal
  std::string origin;                  // as stores::EncodeOrigin writes it
  std::optional<std::string> payload;  // as stores::EncodeMessage writes it
  std::string reason;                  // why it is parked
  std::string scope;                   // of letters and redrives
  std::string id;
};
std::string EncodeEntry(const OutboxEntry& entry);
absl::StatusOr<OutboxEntry> DecodeEntry(std::string_view bytes);

// How often an id was redriven, and the ordinal of the last one.
struct Redrives {
  std::int32_t count = 0;
  std::int32_t last_ordinal = 0;
};
std::string EncodeRedrives(const Redrives& redrives);
absl::StatusOr<Redrives> DecodeRedrives(std::string_view bytes);

}  // namespace once::rocksdb
