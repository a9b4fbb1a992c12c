// Parameters are numbered as the code that binds them says: position_rows.cc, id_rows.cc,
// letter_rows.cc, outbox.cc, outgoing.cc, operations.cc.
#include "adapters/sqlite/statements.h"

#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::sqlite {
namespace {

struct Wanted {
  Statement* statement;
  std::string_view operation;  // in errors, before the path
  std::string sql;
};

absl::Status PrepareAll(sqlite3* connection, const std::string& path,
                        const std::vector<Wanted>& all) {
  for (const Wanted& wanted : all) {
    absl::StatusOr<Statement> prepared = Statement::Prepare(
        connection, wanted.sql, absl::StrCat(ToAbsl(wanted.operation), " ", path));
    if (!prepared.ok()) return prepared.status();
    *wanted.statement = *std::move(prepared);
  }
  return absl::OkStatus();
}

constexpr const char* kPositionColumns =
    "position, revision, writer, reach, last_offset, last_timestamp_ms, last_fingerprint_high, "
    "last_fingerprint_low, directive, log_time_ms";
constexpr const char* kOfPartition =
    " WHERE cluster = ?1 AND consumer_group = ?2 AND topic = ?3 AND partition = ?4";
constexpr const char* kOfId = " WHERE scope = ?1 AND id = ?2";

std::string SelectPositions() {
  return absl::StrCat("SELECT cluster, consumer_group, topic, partition, ", kPositionColumns,
                      " FROM main.once_positions");
}

std::string FindPosition() { return absl::StrCat(SelectPositions(), kOfPartition); }

// As LetterAt() reads it: a letter and its redrives.
std::string SelectLetters() {
  return "SELECT o.sequence, o.origin, o.state, o.payload, o.reason, s.name, o.id, "
         "(SELECT count(*) FROM main.once_outbox r"
         " WHERE r.scope = o.scope AND r.id = o.id AND r.ordinal < 0)"
         " FROM main.once_outbox o"
         " LEFT JOIN main.once_scopes s ON s.scope = o.scope ";
}

absl::Status PrepareTransactions(WriterStatements& s, sqlite3* connection,
                                 const std::string& path) {
  return PrepareAll(
      connection, path,
      {{&s.begin, "begin on", "BEGIN IMMEDIATE"},
       {&s.commit, "commit on", "COMMIT"},
       {&s.rollback, "rollback on", "ROLLBACK"},
       {&s.savepoint, "set savepoint on", "SAVEPOINT once_savepoint"},
       {&s.release_savepoint, "release savepoint on", "RELEASE once_savepoint"},
       {&s.rollback_to_savepoint, "roll back to savepoint on", "ROLLBACK TO once_savepoint"},
       {&s.settle, "settle the last commit on",
        "INSERT OR REPLACE INTO main.once_meta(key, value) VALUES('settled', 1)"}});
}

absl::Status PrepareIds(WriterStatements& s, sqlite3* connection, const std::string& path) {
  return PrepareAll(
      connection, path,
      {{&s.find_scope, "find scope in", "SELECT scope, name FROM main.once_scopes WHERE name = ?1"},
       {&s.add_scope, "add scope to", "INSERT INTO main.once_scopes(name) VALUES(?1)"},
       {&s.find_result, "find result in",
        absl::StrCat("SELECT scope, id, result FROM main.once_results", kOfId)},
       {&s.find_note, "find note in", "SELECT value FROM main.once_notes WHERE key = ?1"},
       {&s.put_note, "put note into",
        "INSERT OR REPLACE INTO main.once_notes(key, value) VALUES(?1, ?2)"},
       {&s.forget_note, "forget note in", "DELETE FROM main.once_notes WHERE key = ?1"},
       {&s.put_result, "put result into",
        "INSERT OR REPLACE INTO main.once_results(scope, id, result) VALUES(?1, ?2, ?3)"},
       {&s.drop_result, "drop result from", absl::StrCat("DELETE FROM main.once_results", kOfId)}});
}

absl::Status PreparePositions(WriterStatements& s, sqlite3* connection, const std::string& path) {
  return PrepareAll(
      connection, path,
      {{&s.find_position, "read position in", FindPosition()},
       {&s.find_other_cluster, "read position in",
        "SELECT cluster FROM main.once_positions WHERE cluster <> ?1 AND consumer_group = ?2 "
        "AND topic = ?3 AND partition = ?4 ORDER BY cluster LIMIT 1"},
       {&s.add_position, "create position in",
        "INSERT INTO main.once_positions(cluster, consumer_group, topic, partition, position, "
        "revision, writer, reach) VALUES(?1, ?2, ?3, ?4, ?5, 1, ?6, ?5)"},
       {&s.take_position, "take position in",
        absl::StrCat("UPDATE main.once_positions SET revision = ?5, writer = ?6", kOfPartition)},
       {&s.set_position, "set position in",
        absl::StrCat("UPDATE main.once_positions SET position = ?5, revision = ?7 + 1, reach = ?8, "
                     "last_offset = ?9, last_timestamp_ms = ?10, last_fingerprint_high = ?11, "
                     "last_fingerprint_low = ?12, log_time_ms = ?13, directive = NULL",
                     kOfPartition, " AND writer = ?6 AND revision IN (?7, ?7 + 1)")},
       {&s.put_position, "order position in",
        absl::StrCat("INSERT OR REPLACE INTO main.once_positions(cluster, consumer_group, topic, "
                     "partition, ",
                     kPositionColumns,
                     ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)")}});
}

// States: 0 pending, 1 published, 2 parked, 3 held (OutboxState). What is still to be published
// keeps its payload until then.
absl::Status PrepareOutbox(WriterStatements& s, sqlite3* connection, const std::string& path) {
  constexpr const char* kLetGo =
      "UPDATE main.once_outbox SET kept = NULL, payload = CASE WHEN state = 0 THEN payload END ";
  return PrepareAll(
      connection, path,
      {{&s.put_outgoing, "put outbox row into",
        "INSERT INTO main.once_outbox(origin, state, payload, scope, id, ordinal, kept) "
        "VALUES(?1, 0, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(origin) DO NOTHING"},
       {&s.mark_published, "mark outbox rows in",
        "UPDATE main.once_outbox SET state = 1, payload = CASE WHEN kept = 1 THEN payload END "
        "WHERE sequence = ?1 AND state = 0"},
       {&s.park, "park outbox row in",
        "UPDATE main.once_outbox SET state = 2, reason = CAST(?2 AS TEXT) "
        "WHERE sequence = ?1 AND state = 0"},
       {&s.hold_letter, "keep letter in",
        "INSERT OR REPLACE INTO main.once_outbox(origin, state, payload, scope, id, ordinal, kept) "
        "VALUES(?1, 3, ?2, ?3, ?4, 0, 1)"},
       {&s.publish_letter, "mark letter in",
        absl::StrCat("UPDATE main.once_outbox SET state = 1", kOfId, " AND state = 3")},
       {&s.void_letters, "let go of letters in",
        absl::StrCat(kLetGo, kOfId, " AND kept = 1 AND sequence <> ?3")},
       {&s.drop_letter, "let go of letter in", absl::StrCat(kLetGo, "WHERE sequence = ?1")},
       {&s.find_letter, "find letter in",
        absl::StrCat(SelectLetters(), "WHERE o.sequence = ?1 AND o.kept = 1")},
       {&s.last_redrive, "count redrives in",
        absl::StrCat("SELECT coalesce(min(ordinal), 0) FROM main.once_outbox", kOfId,
                     " AND ordinal < 0")}});
}

absl::Status PrepareOutgoing(WriterStatements& s, sqlite3* connection, const std::string& path) {
  return PrepareAll(
      connection, path,
      {{&s.publish, "publish through", "INSERT INTO main.once_outgoing(row) VALUES(?1)"},
       {&s.drop_outgoing, "drop outgoing messages from",
        "DELETE FROM main.once_outgoing WHERE number BETWEEN ?1 AND ?2"},
       {&s.put_outgoing_fact, "note outgoing messages in",
        "INSERT OR REPLACE INTO main.once_outgoing_facts(key, value) VALUES(?1, ?2)"},
       {&s.forget_outgoing_fact, "note outgoing messages in",
        "DELETE FROM main.once_outgoing_facts WHERE key = ?1"}});
}

absl::Status PrepareOutgoing(ReaderStatements& s, sqlite3* connection, const std::string& path) {
  return PrepareAll(connection, path,
                    {{&s.find_outgoing, "find outgoing messages in",
                      "SELECT number, row FROM main.once_outgoing WHERE number > ?1 "
                      "ORDER BY number LIMIT ?2"},
                     {&s.read_outgoing, "read outgoing message in",
                      "SELECT number, row FROM main.once_outgoing WHERE number = ?1"},
                     {&s.last_outgoing, "count outgoing messages in",
                      "SELECT coalesce(max(seq), 0) FROM main.sqlite_sequence "
                      "WHERE name = 'once_outgoing'"},
                     {&s.measure_outgoing, "measure outgoing messages in",
                      "SELECT coalesce(sum(length(row)), 0) FROM main.once_outgoing"},
                     {&s.list_outgoing_facts, "read what is known of outgoing messages in",
                      "SELECT key, value FROM main.once_outgoing_facts"}});
}

}  // namespace

absl::Status WriterStatements::Prepare(sqlite3* connection, const std::string& path) {
  absl::Status status = PrepareTransactions(*this, connection, path);
  if (status.ok()) status = PrepareIds(*this, connection, path);
  if (status.ok()) status = PreparePositions(*this, connection, path);
  if (status.ok()) status = PrepareOutbox(*this, connection, path);
  if (status.ok()) status = PrepareOutgoing(*this, connection, path);
  return status;
}

absl::Status ReaderStatements::Prepare(sqlite3* connection, const std::string& path) {
  absl::Status status = PrepareOutgoing(*this, connection, path);
  if (!status.ok()) return status;
  return PrepareAll(
      connection, path,
      {{&find_position, "read position in", FindPosition()},
       {&list_positions, "list positions in", SelectPositions()},
       {&find_pending, "find outbox rows in",
        "SELECT sequence, payload FROM main.once_outbox WHERE state = 0 "
        "ORDER BY sequence LIMIT ?1"},
       {&count_pending, "count outbox rows in",
        "SELECT count(*) FROM main.once_outbox WHERE state = 0"},
       // 1: completed, 4: discarded (IdState).
       {&find_failures, "find letters in",
        absl::StrCat(SelectLetters(),
                     "WHERE o.kept = 1 AND o.sequence > ?1 AND (?2 IS NULL OR o.id = ?2)"
                     " AND (?3 IS NULL OR s.name = ?3)"
                     " ORDER BY o.sequence")},
       {&list_notes, "list notes in",
        "SELECT key, value FROM main.once_notes WHERE key >= ?1 AND key <> ?2 AND "
        "(?3 IS NULL OR key < ?3) ORDER BY key LIMIT ?4"}});
}

}  // namespace once::sqlite
