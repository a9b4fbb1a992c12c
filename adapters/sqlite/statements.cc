// Parameters are numbered as the code that binds them says: position_rows.cc, id_rows.cc,
// letter_rows.cc, outbox.cc, operations.cc.
#include "adapters/sqlite/statements.h"

#include <initializer_list>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"

namespace once::sqlite {
namespace {

absl::Status PrepareAll(
    sqlite3* connection, const std::string& path,
    std::initializer_list<std::tuple<Statement*, const char*, const char*>> all) {
  for (const auto& [statement, operation, sql] : all) {
    absl::StatusOr<Statement> prepared =
        Statement::Prepare(connection, sql, absl::StrCat(operation, " ", path));
    if (!prepared.ok()) return prepared.status();
    *statement = *std::move(prepared);
  }
  return absl::OkStatus();
}

#define ONCE_POSITION_COLUMNS                                           \
  "position, revision, writer, reach, last_offset, last_timestamp_ms, " \
  "last_fingerprint_high, last_fingerprint_low, directive "
#define ONCE_POSITION_KEY "cluster = ?1 AND consumer_group = ?2 AND topic = ?3 AND partition = ?4"

constexpr const char* kFindPosition =
    "SELECT " ONCE_POSITION_COLUMNS "FROM main.once_positions WHERE " ONCE_POSITION_KEY;

#define ONCE_ID_COLUMNS(i)                                                                       \
  i "state, " i "fingerprint_high, " i "fingerprint_low, " i "attempt, " i "first_failed_at, " i \
    "not_before "
#define ONCE_CLAIM_COLUMNS(c)                                                                     \
  c "fence_incarnation, " c "fence_counter, " c "lease_end, " c "is_begun, " c "may_have_run, " c \
    "disposition, " c "fingerprint_high, " c "fingerprint_low "

// A letter with its id's rows, as letter_rows.cc reads it.
#define ONCE_LETTER_COLUMNS                                                        \
  "o.sequence, o.origin, o.state, o.payload, o.reason, s.name, o.id, "             \
  "(SELECT count(*) FROM main.once_outbox r "                                      \
  " WHERE r.scope = o.scope AND r.id = o.id AND r.ordinal < 0), " ONCE_ID_COLUMNS( \
      "i.") ", " ONCE_CLAIM_COLUMNS("c.")
#define ONCE_LETTER_TABLES                                          \
  "FROM main.once_outbox o "                                        \
  "LEFT JOIN main.once_scopes s ON s.scope = o.scope "              \
  "LEFT JOIN main.once_ids i ON i.scope = o.scope AND i.id = o.id " \
  "LEFT JOIN main.once_claims c ON c.scope = o.scope AND c.id = o.id "

}  // namespace

absl::Status WriterStatements::Prepare(sqlite3* connection, const std::string& path) {
  const absl::Status first = PrepareAll(
      connection, path,
      {{&begin, "begin on", "BEGIN IMMEDIATE"},
       {&commit, "commit on", "COMMIT"},
       {&rollback, "rollback on", "ROLLBACK"},
       {&savepoint, "set savepoint on", "SAVEPOINT once_savepoint"},
       {&release_savepoint, "release savepoint on", "RELEASE once_savepoint"},
       {&rollback_to_savepoint, "roll back to savepoint on", "ROLLBACK TO once_savepoint"},
       {&find_scope, "find scope in", "SELECT scope FROM main.once_scopes WHERE name = ?1"},
       {&add_scope, "add scope to", "INSERT INTO main.once_scopes(name) VALUES(?1)"},
       {&find_id, "find ids in",
        "SELECT " ONCE_ID_COLUMNS("") "FROM main.once_ids WHERE scope = ?1 AND id = ?2"},
       {&put_id, "put ids into",
        "INSERT OR REPLACE INTO main.once_ids(scope, id, state, fingerprint_high, "
        "fingerprint_low, attempt, first_failed_at, not_before) "
        "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"},
       {&forget_id, "forget ids in", "DELETE FROM main.once_ids WHERE scope = ?1 AND id = ?2"},
       {&find_claim, "find claims in",
        "SELECT " ONCE_CLAIM_COLUMNS("") "FROM main.once_claims WHERE scope = ?1 AND id = ?2"},
       {&put_claim, "put claims into",
        "INSERT OR REPLACE INTO main.once_claims(scope, id, fence_incarnation, fence_counter, "
        "lease_end, is_begun, may_have_run, disposition, fingerprint_high, fingerprint_low) "
        "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"},
       {&drop_claim, "drop claims from",
        "DELETE FROM main.once_claims WHERE scope = ?1 AND id = ?2"},
       {&find_result, "find result in",
        "SELECT result FROM main.once_results WHERE scope = ?1 AND id = ?2"},
       {&put_result, "put result into",
        "INSERT OR REPLACE INTO main.once_results(scope, id, result) VALUES(?1, ?2, ?3)"},
       {&drop_result, "drop result from",
        "DELETE FROM main.once_results WHERE scope = ?1 AND id = ?2"},
       {&find_position, "read position in", kFindPosition},
       {&find_other_cluster, "read position in",
        "SELECT cluster FROM main.once_positions WHERE cluster <> ?1 AND consumer_group = ?2 "
        "AND topic = ?3 AND partition = ?4 ORDER BY cluster LIMIT 1"},
       {&add_position, "create position in",
        "INSERT INTO main.once_positions(cluster, consumer_group, topic, partition, position, "
        "revision, writer, reach) VALUES(?1, ?2, ?3, ?4, ?5, 1, ?6, ?5)"},
       {&take_position, "take position in",
        "UPDATE main.once_positions SET revision = ?5, writer = ?6 WHERE " ONCE_POSITION_KEY},
       {&set_position, "set position in",
        "UPDATE main.once_positions SET position = ?5, revision = ?7 + 1, reach = ?8, "
        "last_offset = ?9, last_timestamp_ms = ?10, last_fingerprint_high = ?11, "
        "last_fingerprint_low = ?12, directive = NULL WHERE " ONCE_POSITION_KEY
        " AND writer = ?6 AND revision IN (?7, ?7 + 1)"},
       {&order_position, "order position in",
        "INSERT OR REPLACE INTO main.once_positions(cluster, consumer_group, topic, "
        "partition, " ONCE_POSITION_COLUMNS
        ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"}});
  if (!first.ok()) return first;
  return PrepareAll(
      connection, path,
      {{&put_outgoing, "put outbox row into",
        "INSERT INTO main.once_outbox(origin, state, payload, scope, id, ordinal, kept) "
        "VALUES(?1, 0, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(origin) DO NOTHING"},
       {&mark_published, "mark outbox rows in",
        "UPDATE main.once_outbox SET state = 1, payload = CASE WHEN kept = 1 THEN payload END "
        "WHERE sequence = ?1 AND state = 0"},
       {&park, "park outbox row in",
        "UPDATE main.once_outbox SET state = 2, reason = CAST(?2 AS TEXT) "
        "WHERE sequence = ?1 AND state = 0"},
       {&hold_letter, "keep letter in",
        "INSERT OR REPLACE INTO main.once_outbox(origin, state, payload, scope, id, ordinal, kept) "
        "VALUES(?1, 3, ?2, ?3, ?4, 0, 1)"},
       {&publish_letter, "mark letter in",
        "UPDATE main.once_outbox SET state = 1 WHERE scope = ?1 AND id = ?2 AND state = 3"},
       // What is still to be published keeps its payload until then.
       {&void_letters, "drop letters from",
        "UPDATE main.once_outbox SET kept = NULL, payload = CASE WHEN state = 0 THEN payload END "
        "WHERE scope = ?1 AND id = ?2 AND kept = 1 AND sequence <> ?3"},
       {&drop_letter, "drop letter from",
        "UPDATE main.once_outbox SET kept = NULL, payload = CASE WHEN state = 0 THEN payload END "
        "WHERE sequence = ?1"},
       {&find_letter, "find letter in",
        "SELECT " ONCE_LETTER_COLUMNS ONCE_LETTER_TABLES "WHERE o.sequence = ?1 AND o.kept = 1"},
       {&last_redrive, "count redrives in",
        "SELECT coalesce(min(ordinal), 0) FROM main.once_outbox "
        "WHERE scope = ?1 AND id = ?2 AND ordinal < 0"}});
}

absl::Status ReaderStatements::Prepare(sqlite3* connection, const std::string& path) {
  return PrepareAll(
      connection, path,
      {{&find_position, "read position in", kFindPosition},
       {&list_positions, "list positions in",
        "SELECT cluster, consumer_group, topic, partition, " ONCE_POSITION_COLUMNS
        "FROM main.once_positions ORDER BY cluster, consumer_group, topic, partition"},
       {&find_pending, "find outbox rows in",
        "SELECT sequence, payload FROM main.once_outbox WHERE state = 0 "
        "ORDER BY sequence LIMIT ?1"},
       {&count_pending, "count outbox rows in",
        "SELECT count(*) FROM main.once_outbox WHERE state = 0"},
       // 1: completed, 4: discarded (IdState).
       {&find_failures, "find letters in",
        "SELECT " ONCE_LETTER_COLUMNS ONCE_LETTER_TABLES
        "WHERE o.kept = 1 AND o.sequence > ?1 AND (?2 IS NULL OR o.id = ?2) "
        "AND (?3 IS NULL OR s.name = ?3) AND (i.state IS NULL OR i.state NOT IN (1, 4)) "
        "ORDER BY o.sequence LIMIT ?4"},
       {&find_everywhere, "find id in",
        "SELECT s.name, " ONCE_ID_COLUMNS("i.") ", " ONCE_CLAIM_COLUMNS(
            "c.") "FROM main.once_scopes s "
                  "LEFT JOIN main.once_ids i ON i.scope = s.scope AND i.id = ?1 "
                  "LEFT JOIN main.once_claims c ON c.scope = s.scope AND c.id = ?1 "
                  "WHERE i.id IS NOT NULL OR c.id IS NOT NULL ORDER BY s.name"}});
}

}  // namespace once::sqlite
