// Effects as SQL and as lines.
#include "tests/campaign/effects_book.h"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "once/message_id.h"

namespace once::campaign {
namespace {

absl::Status ErrorOf(sqlite3* connection) {
  return absl::InternalError(sqlite3_errmsg(connection));
}

void Query(const std::string& path, const char* sql,
           const std::function<void(sqlite3_stmt*)>& see) {
  sqlite3* connection = nullptr;
  sqlite3_stmt* query = nullptr;
  int code = sqlite3_open_v2(path.c_str(), &connection, SQLITE_OPEN_READONLY, nullptr);
  if (code == SQLITE_OK) code = sqlite3_prepare_v2(connection, sql, -1, &query, nullptr);
  while (code == SQLITE_OK || code == SQLITE_ROW) {
    code = sqlite3_step(query);
    if (code == SQLITE_ROW) see(query);
  }
  const std::string error = sqlite3_errmsg(connection);
  sqlite3_finalize(query);
  sqlite3_close(connection);
  if (code != SQLITE_DONE) throw std::runtime_error(path + ": " + error);
}

}  // namespace

std::uint64_t FingerprintOf(std::string_view value) { return Fingerprint::Of(value).low; }

Effect EffectOf(const Message& message) {
  return {.id = std::string(message.id()),
          .partition = message.partition(),
          .offset = message.offset(),
          .value = FingerprintOf(message.value().value_or("")),
          .is_announced = message.maybe_repeated()};
}

absl::Status EffectsTable::Create(sqlite3* connection) {
  const int code = sqlite3_exec(
      connection,
      "CREATE TABLE IF NOT EXISTS effects(id TEXT, part INTEGER, offs INTEGER, value INTEGER);"
      "CREATE TABLE IF NOT EXISTS totals(part INTEGER PRIMARY KEY, count INTEGER, low INTEGER, "
      "high INTEGER)",
      nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return ErrorOf(connection);
  sqlite3_stmt* insert = nullptr;
  sqlite3_stmt* add = nullptr;
  // In halves: SQLite's integers do not wrap.
  const bool is_prepared =
      sqlite3_prepare_v3(connection, "INSERT INTO effects VALUES(?, ?, ?, ?)", -1,
                         SQLITE_PREPARE_PERSISTENT, &insert, nullptr) == SQLITE_OK &&
      sqlite3_prepare_v3(connection,
                         "INSERT INTO totals VALUES(?1, 1, ?2, ?3) ON CONFLICT(part) DO UPDATE SET "
                         "count = count + 1, low = low + ?2, high = high + ?3",
                         -1, SQLITE_PREPARE_PERSISTENT, &add, nullptr) == SQLITE_OK;
  insert_.reset(insert);
  add_.reset(add);
  return is_prepared ? absl::OkStatus() : ErrorOf(connection);
}

absl::Status EffectsTable::Book(const Effect& effect) const {
  const int id_bytes = static_cast<int>(effect.id.size());
  sqlite3_bind_text(insert_.get(), 1, effect.id.data(), id_bytes, SQLITE_STATIC);
  sqlite3_bind_int(insert_.get(), 2, effect.partition);
  sqlite3_bind_int64(insert_.get(), 3, effect.offset);
  sqlite3_bind_int64(insert_.get(), 4, static_cast<std::int64_t>(effect.value));
  sqlite3_bind_int(add_.get(), 1, effect.partition);
  sqlite3_bind_int64(add_.get(), 2, static_cast<std::int64_t>(effect.value & 0xffffffffU));
  sqlite3_bind_int64(add_.get(), 3, static_cast<std::int64_t>(effect.value >> 32));
  for (sqlite3_stmt* statement : {insert_.get(), add_.get()}) {
    const int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    if (code != SQLITE_DONE) return ErrorOf(sqlite3_db_handle(statement));
  }
  return absl::OkStatus();
}

EffectsFile::EffectsFile(const std::string& path)
    : file_(open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)) {
  if (file_ < 0) throw std::runtime_error("the effects file " + path + " cannot be written");
}

EffectsFile::~EffectsFile() { close(file_); }

absl::Status EffectsFile::Book(const Effect& effect) const {
  const std::string line = absl::StrCat(effect.id, " ", effect.partition, " ", effect.offset, " ",
                                        effect.value, " ", effect.is_announced ? 1 : 0, "\n");
  if (write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    return absl::UnavailableError("the effects file cannot be written");
  }
  return absl::OkStatus();
}

std::vector<Effect> ReadEffectsTable(const std::string& path) {
  std::vector<Effect> effects;
  Query(path, "SELECT id, part, offs, value FROM effects ORDER BY rowid", [&](sqlite3_stmt* row) {
    effects.push_back({.id = reinterpret_cast<const char*>(sqlite3_column_text(row, 0)),
                       .partition = sqlite3_column_int(row, 1),
                       .offset = sqlite3_column_int64(row, 2),
                       .value = static_cast<std::uint64_t>(sqlite3_column_int64(row, 3))});
  });
  return effects;
}

std::map<std::int32_t, EffectTotal> ReadEffectTotals(const std::string& path) {
  std::map<std::int32_t, EffectTotal> totals;
  Query(path, "SELECT part, count, low, high FROM totals", [&](sqlite3_stmt* row) {
    const auto low = static_cast<std::uint64_t>(sqlite3_column_int64(row, 2));
    const auto high = static_cast<std::uint64_t>(sqlite3_column_int64(row, 3));
    totals[sqlite3_column_int(row, 0)] = {.count = sqlite3_column_int64(row, 1),
                                          .sum = low + (high << 32)};
  });
  return totals;
}

std::vector<Effect> ReadEffectsFile(const std::string& path) {
  std::vector<Effect> effects;
  std::ifstream lines(path);
  for (Effect effect; lines >> effect.id >> effect.partition >> effect.offset >> effect.value >>
                      effect.is_announced;) {
    effects.push_back(effect);
  }
  return effects;
}

}  // namespace once::campaign
