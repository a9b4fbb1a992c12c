// SQL of the effects, and the check of them.
#include "tests/benchmark/effects_table.h"

#include <optional>
#include <stdexcept>

#include "tests/benchmark/effects_check.h"
#include "tests/benchmark/workload.h"

namespace once::benchmark {

Statement Prepare(sqlite3* connection, const char* sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(connection, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) !=
      SQLITE_OK) {
    throw std::runtime_error(std::string(sql) + ": " + sqlite3_errmsg(connection));
  }
  return Statement(statement);
}

void Step(sqlite3_stmt* statement) {
  const int code = sqlite3_step(statement);
  sqlite3_reset(statement);
  if (code != SQLITE_DONE && code != SQLITE_ROW) {
    throw std::runtime_error(std::string(sqlite3_sql(statement)) + ": " +
                             sqlite3_errmsg(sqlite3_db_handle(statement)));
  }
}

void CreateEffectsTable(sqlite3* connection) {
  Step(Prepare(connection,
               "CREATE TABLE effects(id TEXT NOT NULL, order_number INTEGER NOT NULL, "
               "partition INTEGER NOT NULL, offset INTEGER NOT NULL)")
           .get());
}

Statement PrepareEffect(sqlite3* connection) {
  return Prepare(connection, "INSERT INTO effects VALUES(?1, ?2, ?3, ?4)");
}

void AddEffect(sqlite3_stmt* statement, const Effect& effect) {
  const std::optional<std::int64_t> order = ParseOrder(effect.value);
  if (!order) throw std::runtime_error("a message is not of the workload");
  sqlite3_bind_text(statement, 1, effect.id.data(), static_cast<int>(effect.id.size()),
                    SQLITE_STATIC);
  sqlite3_bind_int64(statement, 2, *order);
  sqlite3_bind_int(statement, 3, effect.partition);
  sqlite3_bind_int64(statement, 4, effect.offset);
  Step(statement);
}

std::string FindWrongEffects(const std::string& path, std::int64_t messages) {
  sqlite3* opened = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &opened, SQLITE_OPEN_READWRITE, nullptr);
  const Connection connection(opened);
  if (code != SQLITE_OK) return path + " cannot be opened";
  const Statement select = Prepare(opened, "SELECT id, order_number FROM effects");
  EffectsCheck check(messages);
  int step = sqlite3_step(select.get());
  for (; step == SQLITE_ROW; step = sqlite3_step(select.get())) {
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(select.get(), 0));
    const std::string_view id(text,
                              static_cast<std::size_t>(sqlite3_column_bytes(select.get(), 0)));
    std::string wrong = check.Add(id, sqlite3_column_int64(select.get(), 1));
    if (!wrong.empty()) return wrong;
  }
  if (step != SQLITE_DONE) return std::string("reading effects: ") + sqlite3_errmsg(opened);
  return check.Finish();
}

}  // namespace once::benchmark
