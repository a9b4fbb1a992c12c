// Ids of formats before 4, which had a row each, moved into the log of ids.
// Thread-safety: as the connection.
#pragma once

#include <sqlite3.h>

#include <string>

#include "absl/status/status.h"

namespace once::sqlite {

// In the transaction that is open, in bounded memory: what it fails to do, a rollback undoes.
// kDataLoss: a row that was never written. REQUIRES: the tables of both formats are there; those of
// rows are gone afterwards.
absl::Status MoveIds(sqlite3* connection, const std::string& path);

}  // namespace once::sqlite
