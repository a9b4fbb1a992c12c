// Migrations, and the identity of a store.
#include "adapters/sqlite/schema.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "adapters/sqlite/move_ids.h"
#include "adapters/sqlite/statement.h"
#include "once/abseil.h"

namespace once::sqlite {
namespace {

// In the header of files that we created: `file billing.db` then names it. "once" in ASCII.
constexpr int kApplicationId = 0x6f6e6365;

// Keys are BLOBs: they are bytes, and TEXT would change them where a database is kept in UTF-16.
// Times are microseconds since the Unix epoch, null for "never".
constexpr const char* kVersion1 = R"sql(
  CREATE TABLE main.once_meta(
    key TEXT PRIMARY KEY,
    value NOT NULL) WITHOUT ROWID;
  CREATE TABLE main.once_positions(
    cluster BLOB NOT NULL,
    consumer_group BLOB NOT NULL,
    topic BLOB NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    writer INTEGER NOT NULL,
    PRIMARY KEY(cluster, consumer_group, topic, partition)) WITHOUT ROWID;
  CREATE TABLE main.once_scopes(
    scope INTEGER PRIMARY KEY,
    name BLOB NOT NULL UNIQUE);
  CREATE TABLE main.once_ids(
    scope INTEGER NOT NULL,
    id BLOB NOT NULL,
    state INTEGER NOT NULL,
    fingerprint_high INTEGER,
    fingerprint_low INTEGER,
    attempt INTEGER,
    first_failed_at INTEGER,
    not_before INTEGER,
    PRIMARY KEY(scope, id)) WITHOUT ROWID;
  CREATE TABLE main.once_outbox(
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    origin BLOB NOT NULL UNIQUE,
    state INTEGER NOT NULL,
    payload BLOB,
    reason TEXT);
  CREATE INDEX main.once_outbox_pending ON once_outbox(sequence) WHERE state = 0;
)sql";

// Claims. What only the few ids have that somebody works on lies in a table of its own, so that
// the row of an id, of which there are millions, stays as small as it was.
//   once_claims: a row while an id is held (fence), or may have run without anybody knowing how it
//     ended (may_have_run); what is lost with it counts in once_ids.
//   once_outbox: scope, id and ordinal of letters and redrives; kept: the payload stays after
//     publication. Rows from before name no id: it stands in their payload's headers only.
constexpr const char* kVersion2 = R"sql(
  ALTER TABLE main.once_positions ADD COLUMN reach INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE main.once_positions ADD COLUMN last_offset INTEGER;
  ALTER TABLE main.once_positions ADD COLUMN last_timestamp_ms INTEGER;
  ALTER TABLE main.once_positions ADD COLUMN last_fingerprint_high INTEGER;
  ALTER TABLE main.once_positions ADD COLUMN last_fingerprint_low INTEGER;
  ALTER TABLE main.once_positions ADD COLUMN directive INTEGER;
  UPDATE main.once_positions SET reach = position;
  CREATE TABLE main.once_claims(
    scope INTEGER NOT NULL,
    id BLOB NOT NULL,
    fence_incarnation INTEGER,
    fence_counter INTEGER,
    lease_end INTEGER,
    is_begun INTEGER NOT NULL,
    may_have_run INTEGER NOT NULL,
    disposition INTEGER,
    fingerprint_high INTEGER,
    fingerprint_low INTEGER,
    PRIMARY KEY(scope, id)) WITHOUT ROWID;
  CREATE TABLE main.once_results(
    scope INTEGER NOT NULL,
    id BLOB NOT NULL,
    result BLOB NOT NULL,
    PRIMARY KEY(scope, id)) WITHOUT ROWID;
  ALTER TABLE main.once_outbox ADD COLUMN scope INTEGER;
  ALTER TABLE main.once_outbox ADD COLUMN id BLOB;
  ALTER TABLE main.once_outbox ADD COLUMN ordinal INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE main.once_outbox ADD COLUMN kept INTEGER;
  UPDATE main.once_outbox SET ordinal = 1 WHERE substr(origin, -4) <> x'00000000';
  UPDATE main.once_outbox SET kept = 1 WHERE payload IS NOT NULL AND ordinal = 0;
  CREATE INDEX main.once_outbox_kept ON once_outbox(sequence) WHERE kept = 1;
  CREATE INDEX main.once_outbox_ids ON once_outbox(scope, id) WHERE id IS NOT NULL;
)sql";

// Of the last applied record; null: not known, as in rows from before.
constexpr const char* kVersion3 = R"sql(
  ALTER TABLE main.once_positions ADD COLUMN log_time_ms INTEGER;
)sql";

// Ids in a log (src/stores/id_log), which gives everything below its meaning and its checksums.
// Where an id had a row, MoveIds() puts it into the log and drops the tables.
//   once_segments: what one commit has completed.
//   once_open: ids of which more is known than that, with their claims.
//   once_pages: of sorted runs; `place` is the number of the run × 2^32 + that of the page.
//   once_meta: 'manifest' says what counts of all that.
constexpr const char* kVersion4 = R"sql(
  CREATE TABLE main.once_segments(
    number INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL);
  CREATE TABLE main.once_open(
    key BLOB PRIMARY KEY,
    row BLOB NOT NULL) WITHOUT ROWID;
  CREATE TABLE main.once_pages(
    place INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL);
)sql";

// What the engine remembers (Note); the store understands nothing of it.
constexpr const char* kVersion5 = R"sql(
  CREATE TABLE main.once_notes(
    key BLOB PRIMARY KEY,
    value BLOB NOT NULL) WITHOUT ROWID;
)sql";

// Outgoing messages (src/stores/single_lane_log.h). Numbers are never given twice, also not after
// the greatest one's row was dropped: AUTOINCREMENT.
//   once_outgoing: what transactions have published and no relay has yet.
//   once_outgoing_facts: what the log of them knows.
constexpr const char* kVersion6 = R"sql(
  CREATE TABLE main.once_outgoing(
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    row BLOB NOT NULL);
  CREATE TABLE main.once_outgoing_facts(
    key BLOB PRIMARY KEY,
    value BLOB NOT NULL) WITHOUT ROWID;
)sql";

constexpr std::array<Migration, 6> kMigrations = {{{1, kVersion1},
                                                   {2, kVersion2},
                                                   {3, kVersion3},
                                                   {4, kVersion4, &MoveIds},
                                                   {5, kVersion5},
                                                   {6, kVersion6}}};

// As StoreTraits::id promises it.
bool IsStoreId(std::string_view id) {
  return !id.empty() && id.size() <= kStoreIdBytesMax &&
         std::all_of(id.begin(), id.end(), [](char byte) { return byte >= '!' && byte <= '~'; });
}

std::string NewStoreId() {
  std::string bytes(16, '\0');
  sqlite3_randomness(static_cast<int>(bytes.size()), bytes.data());
  return absl::BytesToHexString(bytes);
}

class Preparation {
 public:
  Preparation(sqlite3* connection, const SchemaRequest& request)
      : connection_(connection), request_(request) {}

  absl::StatusOr<StoreIdentity> Run() {
    if (absl::Status status = ReadFormat(); !status.ok()) return status;
    if (absl::Status status = CheckFormat(); !status.ok()) return status;
    if (absl::Status status = Migrate(); !status.ok()) return status;
    return Identify();
  }

 private:
  std::string At(std::string_view operation) const {
    return absl::StrCat(ToAbsl(operation), " ", request_.path);
  }

  absl::StatusOr<std::int64_t> Count(std::string_view sql) {
    const auto text = QueryText(connection_, sql, At("read the schema of"));
    if (!text.ok()) return text.status();
    std::int64_t count = 0;
    if (!*text || !absl::SimpleAtoi(**text, &count)) {
      return absl::DataLossError(absl::StrCat("sqlite: ", At("read the schema of"),
                                              ": once_meta is damaged; restore a backup"));
    }
    return count;
  }

  absl::Status ReadFormat() {
    const auto has_meta = Count(
        "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = 'once_meta'");
    if (!has_meta.ok()) return has_meta.status();
    if (*has_meta == 0) {
      const auto others = Count(
          "SELECT count(*) FROM main.sqlite_schema WHERE lower(substr(name, 1, 5)) = 'once_'");
      if (!others.ok()) return others.status();
      has_foreign_tables_ = *others > 0;
      return absl::OkStatus();
    }
    const auto format = Count("SELECT value FROM main.once_meta WHERE key = 'format'");
    if (!format.ok()) return format.status();
    format_ = *format;
    return absl::OkStatus();
  }

  absl::Status CheckFormat() const {
    const int newest = request_.migrations.back().version;
    if (format_ > newest) {
      return absl::FailedPreconditionError(absl::StrCat(
          "sqlite: open ", request_.path, ": a newer version of once wrote it (format ", format_,
          ", this one knows ", newest, "); upgrade this program, or give it another file"));
    }
    if (format_ == 0 && request_.known_store) {
      return absl::DataLossError(
          absl::StrCat("sqlite: open ", request_.path, ": store ", *request_.known_store,
                       " was in it and its tables are gone; restore a backup, or remove ",
                       request_.path, ".once-lock to begin with nothing known"));
    }
    if (has_foreign_tables_) {
      return absl::FailedPreconditionError(
          absl::StrCat("sqlite: open ", request_.path,
                       ": it has tables named once_* that are not a store's; "
                       "rename them, or give the store a file of its own"));
    }
    return absl::OkStatus();
  }

  absl::Status Migrate() {
    for (const Migration& migration : request_.migrations) {
      if (migration.version <= format_) continue;
      absl::Status status = Execute(connection_, migration.sql,
                                    At(absl::StrCat("migrate to format ", migration.version, ":")));
      if (status.ok() && migration.move != nullptr) {
        status = migration.move(connection_, request_.path);
      }
      if (!status.ok()) return status;
      status = Execute(connection_,
                       absl::StrCat("INSERT OR REPLACE INTO main.once_meta VALUES('format', ",
                                    migration.version, ")"),
                       At("write the format of"));
      if (!status.ok()) return status;
    }
    if (format_ > 0) return absl::OkStatus();
    if (request_.is_new) {
      absl::Status status =
          Execute(connection_, absl::StrCat("PRAGMA main.application_id = ", kApplicationId),
                  At("write the application id of"));
      if (!status.ok()) return status;
    }
    return Execute(connection_,
                   absl::StrCat("INSERT INTO main.once_meta VALUES('store', '", NewStoreId(),
                                "'), ('opened', 0)"),
                   At("write the store id of"));
  }

  absl::StatusOr<StoreIdentity> Identify() {
    const auto store =
        QueryText(connection_, "SELECT value FROM main.once_meta WHERE key = 'store'",
                  At("read the store id of"));
    if (!store.ok()) return store.status();
    if (request_.known_store && *store != request_.known_store) {
      return absl::FailedPreconditionError(absl::StrCat(
          "sqlite: open ", request_.path, ": it holds store ", store->value_or("(none)"),
          ", where store ", *request_.known_store, " was before; put that one back, or remove ",
          request_.path, ".once-lock if the exchange was meant"));
    }
    if (!*store || !IsStoreId(**store)) {
      return absl::DataLossError(absl::StrCat("sqlite: open ", request_.path,
                                              ": the id of the store in once_meta is damaged; "
                                              "restore a backup"));
    }
    absl::Status counted =
        Execute(connection_, "UPDATE main.once_meta SET value = value + 1 WHERE key = 'opened'",
                At("count the opening of"));
    if (!counted.ok()) return counted;
    const auto count = Count("SELECT value FROM main.once_meta WHERE key = 'opened'");
    if (!count.ok()) return count.status();
    return StoreIdentity{.store_id = **store, .open_count = *count};
  }

  sqlite3* const connection_;
  const SchemaRequest& request_;
  std::int64_t format_ = 0;
  bool has_foreign_tables_ = false;
};

}  // namespace

std::span<const Migration> Migrations() { return kMigrations; }

absl::StatusOr<StoreIdentity> PrepareSchema(sqlite3* connection, const SchemaRequest& request) {
  // IMMEDIATE: what is read below must still be true when it is written.
  if (absl::Status begun =
          Execute(connection, "BEGIN IMMEDIATE", absl::StrCat("open ", request.path));
      !begun.ok()) {
    return begun;
  }
  absl::StatusOr<StoreIdentity> identity = Preparation(connection, request).Run();
  if (identity.ok()) {
    absl::Status committed =
        Execute(connection, "COMMIT", absl::StrCat("write the schema of ", request.path));
    if (!committed.ok()) identity = committed;
  }
  if (sqlite3_get_autocommit(connection) == 0) {
    Execute(connection, "ROLLBACK", "roll back").IgnoreError();
  }
  return identity;
}

}  // namespace once::sqlite
