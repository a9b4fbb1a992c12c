// By hand over SQLite: prepared statements, WAL, synchronous=FULL, a unique index on the ids that
// decides whether the effect is added.
#include <stdexcept>
#include <string>

#include "tests/benchmark/ledger.h"

namespace once::benchmark {
namespace {

class SqliteLedger final : public Ledger {
 public:
  SqliteLedger(const std::string& path, bool has_effects)
      : connection_(Open(path)), has_effects_(has_effects) {
    CreateEffectsTable(connection_.get());
    Run("CREATE TABLE seen(id TEXT PRIMARY KEY) WITHOUT ROWID");
    begin_ = Prepare(connection_.get(), "BEGIN IMMEDIATE");
    commit_ = Prepare(connection_.get(), "COMMIT");
    see_ = Prepare(connection_.get(), "INSERT INTO seen VALUES(?1) ON CONFLICT DO NOTHING");
    effect_ = PrepareEffect(connection_.get());
  }

  std::size_t Apply(std::span<rd_kafka_message_t* const> batch) override {
    std::size_t fresh = 0;
    Step(begin_.get());
    for (const rd_kafka_message_t* message : batch) {
      const std::string_view id = IdHeaderOf(*message);
      sqlite3_bind_text(see_.get(), 1, id.data(), static_cast<int>(id.size()), SQLITE_STATIC);
      Step(see_.get());
      if (sqlite3_changes(connection_.get()) == 0) continue;
      ++fresh;
      if (has_effects_) AddEffect(effect_.get(), EffectOf(*message, id));
    }
    Step(commit_.get());
    return fresh;
  }

 private:
  static Connection Open(const std::string& path) {
    sqlite3* opened = nullptr;
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    const int code = sqlite3_open_v2(path.c_str(), &opened, flags, nullptr);
    Connection connection(opened);
    if (code != SQLITE_OK) throw std::runtime_error(path + " cannot be opened");
    // The same cache as once::sqlite has by default.
    for (const char* pragma :
         {"PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA cache_size = -32768"}) {
      Step(Prepare(opened, pragma).get());
    }
    return connection;
  }

  void Run(const char* sql) { Step(Prepare(connection_.get(), sql).get()); }

  Connection connection_;
  const bool has_effects_;
  Statement begin_;
  Statement commit_;
  Statement see_;
  Statement effect_;
};

}  // namespace

Finish ConsumeByHandWithSqlite(const Task& task) {
  SqliteLedger ledger(task.database, false);
  return ConsumeByHand(task, ledger);
}

Finish ConsumeByHandWithSqliteRows(const Task& task) {
  SqliteLedger ledger(task.database, true);
  return ConsumeByHand(task, ledger);
}

}  // namespace once::benchmark
