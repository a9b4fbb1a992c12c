// The rows of the outbox: what is to be published, and the dead letters that are kept beyond that
// for an operator: the newest of each id, until the message is completed or discarded, and those
// without an id until an operator drops them.
// Thread-safety: as the transaction or view.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/rocksdb/batch.h"
#include "adapters/rocksdb/database.h"
#include "adapters/rocksdb/id_table.h"
#include "adapters/rocksdb/row_codec.h"
#include "adapters/rocksdb/view.h"
#include "once/outbox.h"
#include "src/stores/rows.h"

namespace once::rocksdb {

// Numbers of `table` behind `after`, ascending, at most `rows_max`: kWaitingTable or kKeptTable.
absl::StatusOr<std::vector<std::int64_t>> FindSequences(const View& view, char table,
                                                        std::int64_t after, std::size_t rows_max);

// kDataLoss: the index names a row that is not there.
absl::StatusOr<OutboxEntry> FindEntry(const View& view, std::int64_t sequence);

// A kept letter, and the rows of its id, which `find_rows` knows. REQUIRES: `entry` is kept.
using FindRows = absl::FunctionRef<absl::StatusOr<stores::IdRows>(const IdKey& key)>;
absl::StatusOr<stores::KeptLetter> LetterOf(const View& view, const stores::LeaseClock& clock,
                                            std::int64_t number, const OutboxEntry& entry,
                                            FindRows find_rows);

class OutboxRows {
 public:
  // REQUIRES: all outlive it; it is used in the database's turn only.
  OutboxRows(Database& database, Batch& batch, IdTable& ids)
      : database_(database), batch_(batch), ids_(ids) {}

  // As stores::Rows says of each.
  absl::StatusOr<bool> PutRow(const OutboxRow& row);
  absl::Status HoldLetter(const IdKey& key, const OutboxRow& row);
  absl::Status MarkLetterPublished(const IdKey& key);
  // All but number `except`. Costs nothing in a store without letters.
  absl::Status VoidLetters(const IdKey& key, std::int64_t except = 0);
  absl::Status DropLetter(std::int64_t number);
  absl::StatusOr<std::optional<stores::KeptLetter>> FindLetter(std::int64_t number);
  absl::StatusOr<std::int32_t> NextRedrive(const IdKey& key);

  // What the relay says of a row; others than waiting ones are left as they are.
  absl::Status MarkPublished(std::int64_t sequence);
  absl::Status Park(std::int64_t sequence, std::string_view reason);

 private:
  absl::StatusOr<std::optional<std::int64_t>> FindOrigin(const std::string& origin);
  // Writes the row and its entries in the indexes.
  absl::Status PutEntry(std::int64_t sequence, const OutboxEntry& entry);
  absl::Status Remove(std::int64_t sequence);
  // Not kept any longer; what still waits keeps its payload until it is published.
  absl::Status LetGo(std::int64_t sequence);
  absl::Status CountRedrive(const IdKey& key, std::int32_t ordinal);
  absl::StatusOr<std::vector<std::int64_t>> FindLetters(const IdKey& key);
  // nullopt: there is none.
  absl::StatusOr<std::optional<OutboxEntry>> Find(std::int64_t sequence);

  Database& database_;
  Batch& batch_;
  IdTable& ids_;
};

}  // namespace once::rocksdb
