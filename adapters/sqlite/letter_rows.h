// The rows of once_outbox: what is to be published, and the dead letters that are kept beyond that
// for an operator: the newest of each id, until the message is completed or discarded, and those
// without an id until an operator drops them.
// Thread-safety: as the connection of the transaction.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/sqlite/database.h"
#include "adapters/sqlite/id_rows.h"
#include "once/outbox.h"
#include "src/stores/rows.h"

namespace once::sqlite {

// REQUIRES for all that take a Database: a transaction of it is open, and the store is at work.

// For the relay. A row whose origin is there already is left as it is: false. A letter makes the
// older ones of its id void.
absl::StatusOr<bool> PutOutboxRow(Database& database, IdTable& ids, const OutboxRow& row);

// A letter that the relay never sees, since the owner of a claim publishes it …
absl::Status HoldLetter(Database& database, IdTable& ids, const IdKey& key, const OutboxRow& row);
// … and has done so.
absl::Status MarkLetterPublished(Database& database, IdTable& ids, const IdKey& key);

// Letters of `key` are no longer kept, but for number `except`. Costs nothing in a store without
// letters.
absl::Status VoidLetters(Database& database, IdTable& ids, const IdKey& key,
                         std::int64_t except = 0);
absl::Status DropLetter(Database& database, std::int64_t number);

using stores::KeptLetter;

// The row under the cursor of find_letter and find_failures; of its id what `find_rows` knows.
using FindRows = absl::FunctionRef<absl::StatusOr<stores::IdRows>(const IdKey& key)>;
absl::StatusOr<KeptLetter> LetterAt(const Statement& row, const stores::LeaseClock& clock,
                                    FindRows find_rows);

// nullopt: there is none, or it is void.
absl::StatusOr<std::optional<KeptLetter>> FindLetter(Database& database, IdTable& ids,
                                                     std::int64_t number);

// The ordinal of an id's next redrive: -1, -2 …
absl::StatusOr<std::int32_t> NextRedrive(Database& database, IdTable& ids, const IdKey& key);

}  // namespace once::sqlite
