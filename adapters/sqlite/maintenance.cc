// Figures, check, VACUUM, and a copy page by page inside one read transaction.
#include "adapters/sqlite/maintenance.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "adapters/sqlite/connection_ids.h"
#include "adapters/sqlite/statement.h"
#include "once/abseil.h"
#include "src/stores/id_figures.h"
#include "src/stores/id_log/id_log.h"
#include "src/stores/id_table.h"
#include "src/stores/outbox_codec.h"
#include "src/stores/store_path.h"

namespace once::sqlite {
namespace {

// Findings of one check; a damaged file has thousands that say the same.
constexpr int kFindingsMax = 100;
// Instructions of SQLite's machine between two looks at the stop token: some ten per millisecond.
constexpr int kInstructionsPerLook = 100'000;
// With another connection that recovers or checkpoints at this moment.
constexpr int kPatienceMilliseconds = 5'000;
// Pages copied between two of them.
constexpr int kPagesPerStep = 4096;

absl::StatusOr<ConnectionHandle> OpenReadOnly(const std::string& path, std::string_view operation) {
  sqlite3* raw = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, nullptr);
  ConnectionHandle connection(raw);
  if (code != SQLITE_OK) return ErrorStatus(raw, code, operation);
  sqlite3_busy_timeout(raw, kPatienceMilliseconds);
  return connection;
}

// While it lives, what the connection runs ends soon after a stop is requested.
class StopWatch {
 public:
  StopWatch(sqlite3* connection, const std::stop_token& stop) : connection_(connection) {
    sqlite3_progress_handler(connection, kInstructionsPerLook, &IsStopped,
                             const_cast<std::stop_token*>(&stop));
  }
  ~StopWatch() { sqlite3_progress_handler(connection_, 0, nullptr, nullptr); }
  StopWatch(const StopWatch&) = delete;
  StopWatch& operator=(const StopWatch&) = delete;

 private:
  static int IsStopped(void* stop) {
    return static_cast<const std::stop_token*>(stop)->stop_requested() ? 1 : 0;
  }
  sqlite3* const connection_;
};

absl::Status StoppedOr(const std::stop_token& stop, std::string_view operation,
                       const absl::Status& status) {
  if (status.ok() || !stop.stop_requested()) return status;
  return absl::CancelledError(absl::StrCat("sqlite: ", ToAbsl(operation), ": given up on request"));
}

struct Query {
  const char* name;
  const char* sql;
};

// By counting rows: readers hold nobody back.
constexpr std::array kQueries = {
    Query{"file_bytes", "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"},
    Query{"free_bytes",
          "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size"},
    Query{"positions_count", "SELECT count(*) FROM main.once_positions"},
    Query{"letters_pending_count", "SELECT count(*) FROM main.once_outbox WHERE state = 0"},
    Query{"letters_kept_count", "SELECT count(*) FROM main.once_outbox WHERE kept = 1"},
};

absl::Status CheckRows(sqlite3* connection, const std::string& operation,
                       std::vector<std::string>& findings) {
  absl::StatusOr<Statement> rows = Statement::Prepare(
      connection, "SELECT sequence, origin, payload FROM main.once_outbox", operation);
  if (!rows.ok()) return rows.status();
  absl::StatusOr<bool> has_row = rows->Step();
  for (; has_row.ok() && *has_row; has_row = rows->Step()) {
    absl::Status damage = stores::DecodeOrigin(rows->Bytes(1)).status();
    if (!rows->IsNull(2)) damage.Update(stores::DecodeMessage(rows->Bytes(2)).status());
    if (damage.ok() || findings.size() >= kFindingsMax) continue;
    findings.push_back(absl::StrCat("letter ", rows->Int(0), ": ", damage.message()));
  }
  return has_row.status();
}

// Every id, as it is read when nothing of it is in memory.
absl::Status CheckIds(sqlite3* connection, const std::string& path, const std::stop_token& stop) {
  constexpr std::size_t kRecentBytes = 1 << 20;
  ConnectionIds storage;
  if (absl::Status prepared = storage.Prepare(connection, path); !prepared.ok()) return prepared;
  const auto ids =
      stores::IdLog::Open(storage, {.recent = {.bytes_max = kRecentBytes}, .reload_bytes = 0});
  if (!ids.ok()) return ids.status();
  return stores::CheckIds(**ids, [&] {
    return stop.stop_requested() ? absl::CancelledError("sqlite: verify ids: given up on request")
                                 : absl::OkStatus();
  });
}

absl::Status CheckPages(sqlite3* connection, const std::string& operation,
                        std::vector<std::string>& findings) {
  absl::StatusOr<Statement> check = Statement::Prepare(
      connection, absl::StrCat("PRAGMA main.integrity_check(", kFindingsMax, ")"), operation);
  if (!check.ok()) return check.status();
  absl::StatusOr<bool> has_row = check->Step();
  for (; has_row.ok() && *has_row; has_row = check->Step()) {
    if (check->Bytes(0) != "ok") findings.emplace_back(check->Bytes(0));
  }
  return has_row.status();
}

// SQLite's page by page copy. An open read transaction keeps it at one commit: without one it would
// begin anew with every write of somebody else.
absl::Status Copy(sqlite3* from, sqlite3* to, const std::stop_token& stop,
                  const std::string& operation) {
  absl::Status reading = Execute(from, "BEGIN; SELECT count(*) FROM main.sqlite_schema", operation);
  if (!reading.ok()) return reading;
  sqlite3_backup* const backup = sqlite3_backup_init(to, "main", from, "main");
  if (backup == nullptr) return ErrorStatus(to, sqlite3_extended_errcode(to), operation);
  int code = SQLITE_OK;
  while (code == SQLITE_OK && !stop.stop_requested()) {
    code = sqlite3_backup_step(backup, kPagesPerStep);
  }
  const bool is_whole = code == SQLITE_DONE;
  const int finished = sqlite3_backup_finish(backup);
  if (finished != SQLITE_OK) return ErrorStatus(to, finished, operation);
  if (is_whole) return absl::OkStatus();
  if (code != SQLITE_OK) return ErrorStatus(from, code, operation);
  return absl::CancelledError(absl::StrCat("sqlite: ", operation, ": given up on request"));
}

// A new file with all of `from`, closed and synced.
absl::Status CopyToFile(sqlite3* from, const std::string& path, const std::stop_token& stop,
                        const std::string& operation) {
  sqlite3* raw = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &raw,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  ConnectionHandle to(raw);
  if (code != SQLITE_OK) return ErrorStatus(raw, code, operation);
  absl::Status copied = Execute(to.get(), "PRAGMA synchronous = FULL", operation);
  if (copied.ok()) copied = Copy(from, to.get(), stop, operation);
  return copied;
}

}  // namespace

absl::StatusOr<std::vector<StoreFigure>> SqliteMaintenance::ReadFigures() {
  const std::string operation = absl::StrCat("read figures of ", database_->path());
  const auto connection = OpenReadOnly(database_->path(), operation);
  if (!connection.ok()) return connection.status();
  std::vector<StoreFigure> figures;
  for (const Query& query : kQueries) {
    const auto value = QueryText(connection->get(), query.sql, operation);
    if (!value.ok()) return value.status();
    figures.push_back({query.name, std::atoll(value->value_or("0").c_str())});
  }
  stores::AddIdFigures(database_->ids().Read([](const stores::IdLog& log) { return log.stats(); }),
                       figures);
  struct stat wal = {};
  const bool has_wal = ::stat(absl::StrCat(database_->path(), "-wal").c_str(), &wal) == 0;
  figures.push_back({"wal_bytes", has_wal ? static_cast<std::int64_t>(wal.st_size) : 0});
  return figures;
}

absl::StatusOr<std::vector<std::string>> SqliteMaintenance::Verify(const std::stop_token& stop) {
  const std::string operation = absl::StrCat("verify ", database_->path());
  const auto connection = OpenReadOnly(database_->path(), operation);
  if (!connection.ok()) return connection.status();
  const StopWatch watch(connection->get(), stop);
  std::vector<std::string> findings;
  // One moment: ids are sealed, and what was sealed is removed, while this goes on.
  absl::Status begun = Execute(connection->get(), "BEGIN", operation);
  if (!begun.ok()) return begun;
  absl::Status checked = CheckPages(connection->get(), operation, findings);
  if (checked.ok()) checked = CheckRows(connection->get(), operation, findings);
  if (checked.ok()) checked = CheckIds(connection->get(), database_->path(), stop);
  if (absl::IsDataLoss(checked)) {
    findings.emplace_back(checked.message());
  } else if (!checked.ok()) {
    return StoppedOr(stop, operation, checked);
  }
  return findings;
}

absl::Status SqliteMaintenance::Compact(const std::stop_token& stop) {
  const std::string operation = absl::StrCat("compact ", database_->path());
  const absl::Status compacted = database_->RunAlone("compact", [&](sqlite3* connection) {
    const StopWatch watch(connection, stop);
    absl::Status done = Execute(connection, "VACUUM main", operation);
    // The new file still lies in the -wal, which keeps its size otherwise.
    if (done.ok()) done = Execute(connection, "PRAGMA main.wal_checkpoint(TRUNCATE)", operation);
    return done;
  });
  return StoppedOr(stop, operation, compacted);
}

absl::Status SqliteMaintenance::Backup(const std::string& path, const std::stop_token& stop) {
  const std::string operation = absl::StrCat("back up ", database_->path(), " to ", path);
  const std::string partial = absl::StrCat(path, ".partial");
  if (absl::Status free = stores::CheckFree("sqlite", operation, path); !free.ok()) return free;
  const absl::StatusOr<ConnectionHandle> from = OpenReadOnly(database_->path(), operation);
  if (!from.ok()) return from.status();
  ::unlink(partial.c_str());  // of a backup whose process died
  absl::Status made = CopyToFile(from->get(), partial, stop, operation);
  // A second name first: it is never given over something that is there.
  if (made.ok() && ::link(partial.c_str(), path.c_str()) != 0) {
    made = stores::SystemError("sqlite", errno, operation, path);
  }
  if (!made.ok()) {
    ::unlink(partial.c_str());
    ::unlink(absl::StrCat(partial, "-journal").c_str());
    return made;
  }
  ::unlink(partial.c_str());
  return stores::SyncFolderOf("sqlite", operation, path);
}

}  // namespace once::sqlite
