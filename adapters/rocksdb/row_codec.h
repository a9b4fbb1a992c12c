// The store's rows as keys and values.
//
//   once_ids   scope number, id        → record
//   default    one byte that names the table, then
//     m name                           → format, store, opened, next_scope
//     s scope name                     → scope number
//     p cluster, group, topic, number  → position
//     c scope number, id               → claim, while there is one
//     v scope number, id               → result of a completed claim
//     o sequence                       → outbox row
//     g origin                         → its sequence; for ever
//     w sequence                       → (nothing) it waits for the relay
//     k sequence                       → (nothing) it is a letter that is kept
//     l scope number, id, sequence     → (nothing) the same by id
//     r scope number, id               → redrives of that id
//
// Numbers in keys are big-endian, so that they are in order. Pure functions; decoding answers
// kDataLoss for what encoding never produces.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "once/operations.h"
#include "once/outbox.h"
#include "once/position.h"
#include "once/transaction.h"
#include "src/stores/claim_rules.h"
#include "src/stores/rows.h"

namespace once::rocksdb {

inline constexpr char kMetaTable = 'm';
inline constexpr char kScopeTable = 's';
inline constexpr char kPositionTable = 'p';
inline constexpr char kClaimTable = 'c';
inline constexpr char kResultTable = 'v';
inline constexpr char kOutboxTable = 'o';
inline constexpr char kOriginTable = 'g';
inline constexpr char kWaitingTable = 'w';
inline constexpr char kKeptTable = 'k';
inline constexpr char kLetterTable = 'l';
inline constexpr char kRedriveTable = 'r';

// `table` in front of `rest`.
std::string Key(char table, std::string_view rest);

// In once_ids, and after their byte in the tables of claims, results and redrives.
std::string IdKeyBytes(std::uint32_t scope, std::string_view id);

std::string PositionKey(const PartitionKey& key);

// Of the tables of outbox rows, those that wait and those that are kept.
std::string SequenceKey(char table, std::int64_t sequence);
absl::StatusOr<std::int64_t> SequenceOf(std::string_view key);
std::string LetterPrefix(std::uint32_t scope, std::string_view id);
std::string LetterKey(std::uint32_t scope, std::string_view id, std::int64_t sequence);

// The first key that does not begin with `prefix`. REQUIRES: a byte of it is not 0xff.
std::string EndOfPrefix(std::string prefix);

std::string EncodeNumber(std::uint64_t number);
absl::StatusOr<std::uint64_t> DecodeNumber(std::string_view bytes);

std::string EncodePosition(const StoredPosition& position);
absl::StatusOr<StoredPosition> DecodePosition(std::string_view bytes);

std::string EncodeRecord(const IdRecord& record);
absl::StatusOr<IdRecord> DecodeRecord(std::string_view bytes);

std::string EncodeClaim(const stores::ClaimRow& claim);
absl::StatusOr<stores::ClaimRow> DecodeClaim(std::string_view bytes);

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
