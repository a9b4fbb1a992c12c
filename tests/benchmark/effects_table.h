// The effects of both contestants with SQLite: one row per order, in a table without a unique key,
// so that a second effect of one order would show.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace once::benchmark {

struct CloseSqlite {
  void operator()(sqlite3* connection) const { sqlite3_close_v2(connection); }
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Connection = std::unique_ptr<sqlite3, CloseSqlite>;
using Statement = std::unique_ptr<sqlite3_stmt, CloseSqlite>;

// Both throw std::runtime_error when SQLite refuses.
Statement Prepare(sqlite3* connection, const char* sql);
// Runs a statement without rows, and makes it ready for the next time.
void Step(sqlite3_stmt* statement);

void CreateEffectsTable(sqlite3* connection);
Statement PrepareEffect(sqlite3* connection);

struct Effect {
  std::string_view id;
  std::string_view value;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
};

// Adds the row. REQUIRES: `statement` comes from PrepareEffect().
void AddEffect(sqlite3_stmt* statement, const Effect& effect);

// Empty when the file at `path` holds exactly one effect for each order of the first `messages`
// messages of the workload and nothing else; otherwise what is wrong, for a person.
std::string FindWrongEffects(const std::string& path, std::int64_t messages);

}  // namespace once::benchmark
