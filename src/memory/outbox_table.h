// OutboxTable: the outbox rows of an in-memory store, and the dead letters it keeps for operators
// after they were published. It knows no locks. Private to src/memory.
// Thread-safety: none of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "once/message_id.h"
#include "once/outbox.h"

namespace once::memory {

class OutboxTable {
 public:
  struct Row {
    OutboxRow row;
    bool is_published = false;
    std::string parked_reason;  // empty: it is not parked
    // Of no use to operators any more; kept only until it is published.
    bool is_void = false;
  };

  bool HasOrigin(const OutboxOrigin& origin) const { return origins_.contains(origin); }
  // REQUIRES: its origin is not there.
  void Append(OutboxRow row);
  // Keeps a letter that somebody else publishes; nothing when its origin is there already.
  void KeepLetter(const OutboxRow& letter);

  std::vector<PendingRow> FindPending(std::size_t rows_max) const;
  std::size_t CountPending() const { return pending_.size(); }
  void MarkPublished(std::int64_t sequence);
  void Park(std::int64_t sequence, const absl::Status& reason);

  // Kept letters by number: the newest of each id, and all that have none.
  std::vector<std::int64_t> LetterNumbers() const;
  // Null where no letter is kept under that number.
  const Row* FindLetter(std::int64_t number) const;
  std::optional<std::int64_t> FindLetterOf(const IdKey& key) const;
  // REQUIRES for the next two: FindLetter(number) is not null.
  void MarkLetterPublished(std::int64_t number) { rows_.at(number).is_published = true; }
  void DropLetter(std::int64_t number);

  // Appends what a redrive of the letter sends, under the next ordinal below zero.
  // REQUIRES: FindLetter(number) is not null.
  void AppendRedrive(std::int64_t number, OutboxRow row);
  int CountRedrives(const IdKey& key) const;

 private:
  static bool IsLetter(const OutboxRow& row) { return row.origin.ordinal == 0; }
  // The numbers of the letters before, if `row` is a newer one of their id.
  void Supersede(const OutboxRow& row, std::int64_t number);
  void EraseIfUseless(std::int64_t sequence);

  std::map<std::int64_t, Row> rows_;  // by sequence, which is a letter's number
  std::set<std::int64_t> pending_;
  std::set<OutboxOrigin> origins_;                                 // for ever
  absl::flat_hash_map<std::string, std::int64_t> newest_letters_;  // by EncodeIdKey
  absl::flat_hash_map<std::string, int> redrives_;                 // by EncodeIdKey
  std::int64_t last_sequence_ = 0;
};

}  // namespace once::memory
