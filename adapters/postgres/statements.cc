// Parameters are numbered as the code that gives them says: position_rows.cc, id_rows.cc,
// letter_rows.cc, outbox.cc, operations.cc.
//
// Rows are always locked in the order of their keys, so that two batches never wait for each other.
// A statement that must find what it changes divides by zero where it does not: it then fails
// inside the pipeline, before the COMMIT behind it, and no round trip is spent on looking.
#include "adapters/postgres/statements.h"

#include <algorithm>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "adapters/postgres/statement_names.h"
#include "once/abseil.h"

namespace once::postgres {
namespace {

constexpr std::string_view kDivisionByZero = "22012";
constexpr std::string_view kUniqueViolation = "23505";

// What an operator changes is held for as long as it takes; a command that is stopped in the midst
// of it (Ctrl-Z) must not hold up relays.
constexpr absl::Duration kOperatorIdleMax = absl::Seconds(3);

constexpr const char* kPartitionKeys =
    "unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::int4[]) WITH ORDINALITY "
    "AS k(cluster, consumer_group, topic, partition, n)";
constexpr const char* kSamePartition =
    "p.cluster = k.cluster AND p.consumer_group = k.consumer_group AND p.topic = k.topic AND "
    "p.partition = k.partition";
constexpr const char* kPositionColumns =
    "cluster, consumer_group, topic, partition, position, revision, writer, reach, last_offset, "
    "last_timestamp_ms, last_fingerprint_high, last_fingerprint_low, directive, log_time_ms";
constexpr const char* kPositionCells =
    "p.cluster, p.consumer_group, p.topic, p.partition, p.position, p.revision, p.writer, p.reach, "
    "p.last_offset, p.last_timestamp_ms, p.last_fingerprint_high, p.last_fingerprint_low, "
    "p.directive, p.log_time_ms";

constexpr const char* kIdValues =
    "unnest($1::int8[], $2::bytea[], $3::int2[], $4::int8[], $5::int8[], $6::int4[], $7::int8[], "
    "$8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::bool[], $13::bool[], $14::int2[], "
    "$15::int8[], $16::int8[], $17::bytea[])";

// "One row has changed for each key", or the transaction fails.
constexpr const char* kAllChanged = "SELECT 1 / (count(*) = cardinality($1))::int FROM changed";

// Where every row of an id goes that is written: whoever holds ids shared knows that it stays so.
constexpr const char* kCurrentBucket = "(SELECT max(bucket) FROM @.buckets)";

// The row of an id wherever it lies, found by the index of each bucket; a place is one only within
// its bucket. A subquery that is not pulled up: the planner would rather read a table of a million
// rows than look for a thousand of them.
std::string RowsOf(std::string_view keys) {
  return absl::StrCat(
      " CROSS JOIN LATERAL (SELECT bucket, ctid AS place FROM @.known_ids WHERE "
      "scope = ",
      ToAbsl(keys), ".scope AND id = ", ToAbsl(keys),
      ".id OFFSET 0) AS found WHERE i.bucket = found.bucket AND i.ctid = "
      "found.place");
}

void NameTransactions(Statements& s, const Namer& name) {
  s.begin = name("begin", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE NOT DEFERRABLE");
  s.commit = name("commit", "COMMIT");
  s.rollback = name("roll back", "ROLLBACK");
  s.set_savepoint = name("set savepoint", "SAVEPOINT once_savepoint");
  s.release_savepoint = name("release savepoint", "RELEASE SAVEPOINT once_savepoint");
  s.rollback_to_savepoint = name("roll back to savepoint", "ROLLBACK TO SAVEPOINT once_savepoint");
  s.write_unsynced = name("commit", "SET LOCAL synchronous_commit TO OFF");
  s.write_synced = name("commit",
                        "SELECT set_config('synchronous_commit', CASE "
                        "current_setting('synchronous_commit') WHEN 'remote_apply' THEN "
                        "'remote_apply' ELSE 'on' END, true), current_setting('fsync') = 'on' AND "
                        "current_setting('full_page_writes') = 'on', "
                        "(pg_current_wal_insert_lsn() - '0/0')::int8");
  s.read_clock =
      name("read the clock",
           "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8, EXISTS (SELECT FROM "
           "@.outbox WHERE kept)");
  s.count_word = name("record claims",
                      "UPDATE @.openings SET words = words + 1 WHERE opening = $1::int8 "
                      "RETURNING words");
  s.read_words = name("sync claims", "SELECT words FROM @.openings WHERE opening = $1::int8");
  s.put_opening = name("sync claims",
                       "INSERT INTO @.openings(opening, words, seen_at) VALUES($1::int8, 0, now()) "
                       "ON CONFLICT DO NOTHING");
  s.sync_words = name("sync claims",
                      "UPDATE @.openings SET words = words + 1, seen_at = now() "
                      "WHERE opening = $1::int8 RETURNING words");
}

void NameWaits(Statements& s, const Namer& name, const StoreOptions& options) {
  const auto wait = [&](absl::Duration timeout) {
    return name("wait for a lock",
                absl::StrCat("SET LOCAL lock_timeout TO ", absl::ToInt64Milliseconds(absl::Ceil(
                                                               timeout, absl::Milliseconds(1)))));
  };
  s.wait_as_store = wait(options.lock_timeout);
  s.wait_as_handler = wait(options.handler_lock_timeout);
  // Less than an answer is waited for: a commit whose answer nobody hears is in doubt.
  s.wait_to_publish = wait(std::min(options.handler_lock_timeout, options.answer_timeout / 2));
  s.hurry = name("change outgoing messages",
                 absl::StrCat("SET LOCAL idle_in_transaction_session_timeout TO ",
                              absl::ToInt64Milliseconds(kOperatorIdleMax)));
}

// What DISCARD ALL does, but for the prepared statements, which are ours.
void NameCleaning(Statements& s, const Namer& name) {
  for (const char* const sql :
       {"CLOSE ALL", "RESET SESSION AUTHORIZATION", "RESET ALL", "UNLISTEN *",
        "SELECT pg_advisory_unlock_all()", "DISCARD TEMP", "DISCARD SEQUENCES"}) {
    s.cleaning.push_back(name("clean the session", sql));
  }
}

void NamePositions(Statements& s, const Namer& name) {
  s.lock_positions = name(
      "lock positions", absl::StrCat("SELECT k.n, ", kPositionCells, " FROM ", kPartitionKeys,
                                     " JOIN @.positions p ON ", kSamePartition,
                                     " ORDER BY p.cluster, p.consumer_group, p.topic, p.partition "
                                     "FOR UPDATE OF p"));
  s.read_positions =
      name("read positions", absl::StrCat("SELECT k.n, ", kPositionCells, " FROM ", kPartitionKeys,
                                          " JOIN @.positions p ON ", kSamePartition));
  s.find_other_clusters =
      name("read positions",
           absl::StrCat("SELECT DISTINCT ON (k.n) k.n, p.cluster FROM ", kPartitionKeys,
                        " JOIN @.positions p ON p.cluster <> k.cluster AND p.consumer_group = "
                        "k.consumer_group AND p.topic = k.topic AND p.partition = k.partition "
                        "ORDER BY k.n, p.cluster"));
  s.put_positions =
      name("put positions",
           absl::StrCat("WITH changed AS (INSERT INTO @.positions AS p (", kPositionColumns,
                        ", log_time_max_ms) SELECT *, log_time_ms FROM unnest($1::bytea[], "
                        "$2::bytea[], $3::bytea[], $4::int4[], "
                        "$5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::int8[], $10::int8[], "
                        "$11::int8[], $12::int8[], $13::int2[], $14::int8[]) AS u(",
                        kPositionColumns,
                        ") ON CONFLICT (cluster, consumer_group, "
                        "topic, partition) DO UPDATE SET position = EXCLUDED.position, revision = "
                        "EXCLUDED.revision, writer = EXCLUDED.writer, reach = EXCLUDED.reach, "
                        "last_offset = EXCLUDED.last_offset, last_timestamp_ms = "
                        "EXCLUDED.last_timestamp_ms, last_fingerprint_high = "
                        "EXCLUDED.last_fingerprint_high, last_fingerprint_low = "
                        "EXCLUDED.last_fingerprint_low, directive = EXCLUDED.directive, "
                        "log_time_ms = EXCLUDED.log_time_ms, log_time_max_ms = "
                        "greatest(p.log_time_max_ms, EXCLUDED.log_time_ms) "
                        "WHERE p.revision = EXCLUDED.revision - 1 RETURNING 1) ",
                        kAllChanged),
           kDivisionByZero);
  s.list_positions =
      name("list positions",
           absl::StrCat("SELECT 0, ", kPositionCells,
                        " FROM @.positions p ORDER BY cluster, consumer_group, topic, partition"));
  // A row that is locked carries the number of the transaction that holds it. Who hangs while an
  // answer is sent to him is active, and waits for his client. 5 is how long a transaction has
  // asked nothing, in microseconds; 6 our own name; 7 our own sessions that live.
  s.end_hung_owners = name(
      "end a hung owner's session",
      absl::StrCat("SELECT pg_terminate_backend(a.pid) FROM ", kPartitionKeys,
                   " JOIN @.positions p ON ", kSamePartition,
                   " JOIN pg_stat_activity a ON a.backend_xid = p.xmax "
                   "WHERE a.datname = current_database() AND (a.state LIKE 'idle in transaction%' "
                   "OR a.state = 'active' AND a.wait_event_type = 'Client') "
                   "AND a.application_name LIKE 'once:%' "
                   "AND CASE WHEN a.application_name = convert_from($6::bytea, 'UTF8') "
                   "THEN a.pid <> ALL($7::int4[]) ELSE a.state_change < clock_timestamp() - "
                   "$5::int8 * interval '1 microsecond' END"));
}

void NameIds(Statements& s, const Namer& name) {
  s.share_ids =
      name("begin", "SELECT pg_advisory_xact_lock_shared(hashtext('once ids'), hashtext('@'))");
  s.hold_ids = name("hold ids",
                    "SELECT pg_advisory_xact_lock(hash) FROM (SELECT DISTINCT hash FROM "
                    "unnest($1::int8[]) AS k(hash) ORDER BY 1) AS sorted");
  // One look into each bucket's index for each key, in their order: as RowsOf() says.
  const auto find = [](const char* how) {
    return absl::StrCat("SELECT k.n, ", kIdCells, " FROM ", kIdKeys, " CROSS JOIN LATERAL (SELECT ",
                        kIdColumns, " FROM @.known_ids WHERE scope = k.scope AND id = k.id ", how,
                        ") i");
  };
  s.find_ids = name("find ids", find("OFFSET 0"));
  s.lock_ids = name("find ids", find("FOR UPDATE"));
  s.add_completed_ids =
      name("put ids",
           absl::StrCat("INSERT INTO @.known_ids(scope, id, state, bucket, fingerprint_high, "
                        "fingerprint_low, attempt, is_undated) SELECT u.scope, u.id, 1, ",
                        kCurrentBucket,
                        ", u.high, u.low, u.attempt, $6::bool FROM unnest($1::int8[], $2::bytea[], "
                        "$3::int8[], $4::int8[], $5::int4[]) AS u(scope, id, high, low, attempt) "
                        "ORDER BY 1, 2"),
           kUniqueViolation);
  s.add_ids = name("put ids",
                   absl::StrCat("INSERT INTO @.known_ids(scope, id, ", kIdColumns,
                                ", bucket, is_undated) SELECT *, ", kCurrentBucket,
                                ", $18::bool FROM ", kIdValues, " ORDER BY 1, 2"),
                   kUniqueViolation);
  s.put_ids =
      name("put ids",
           absl::StrCat("WITH changed AS (UPDATE @.known_ids i SET (", kIdColumns,
                        ", bucket, is_undated) = (", absl::StrReplaceAll(kIdCells, {{"i.", "u."}}),
                        ", ", kCurrentBucket, ", $18::bool) FROM ", kIdValues, " AS u(scope, id, ",
                        kIdColumns, ")", RowsOf("u"), " RETURNING 1) ", kAllChanged),
           kDivisionByZero);
  s.forget_ids =
      name("forget ids", absl::StrCat("DELETE FROM @.known_ids i USING ", kIdKeys, RowsOf("k")));
  s.find_everywhere =
      name("find id", absl::StrCat("SELECT s.name, ", kIdCells,
                                   " FROM @.scopes s JOIN @.known_ids i ON i.scope = s.scope AND "
                                   "i.id = $1::bytea ORDER BY s.name"));
  s.find_scopes =
      name("find scopes", "SELECT scope, name FROM @.scopes WHERE scope = ANY($1::int8[])");
  s.add_scopes = name("put scopes",
                      "INSERT INTO @.scopes(scope, name) SELECT * FROM unnest($1::int8[], "
                      "$2::bytea[]) ORDER BY 1 ON CONFLICT DO NOTHING");
  s.check_scopes =
      name("put scopes",
           "WITH changed AS (SELECT 1 FROM @.scopes s JOIN unnest($1::int8[], "
           "$2::bytea[]) AS u(scope, name) ON s.scope = u.scope AND s.name = u.name) " +
               std::string(kAllChanged));
}

// Of one bucket: parameters 1 to 3 are its number, the first page and the end.
constexpr const char* kPages =
    "i.bucket = $1::int8::int4 AND i.ctid >= ('(' || $2::int8 || ',0)')::tid AND i.ctid < ('(' || "
    "$3::int8 || ',0)')::tid";

// Of a row of meta: which process does not look after the buckets, and why, under the name of its
// sessions. Those of a process that is gone say nothing any more.
constexpr const char* kIsUpkeepError = "(m.key LIKE 'upkeep\\_error once:%')";
constexpr const char* kIsAlive =
    "EXISTS (SELECT FROM pg_stat_activity a WHERE a.application_name = substr(m.key, 14))";

// Parameters: see maintenance.cc, verification.cc and upkeep.cc.
void NameMaintenance(Statements& s, const Namer& name) {
  // Rows by the statistics that the server keeps while they are written.
  s.measure_buckets = name(
      "read figures",
      "SELECT b.bucket, b.log_time_max_ms, greatest(t.n_live_tup, c.reltuples, 0)::int8, "
      "coalesce((SELECT ((1 - "
      "s.null_frac) * greatest(c.reltuples, 0))::int8 FROM pg_stats s WHERE s.schemaname = '@' AND "
      "s.tablename = c.relname AND s.attname = 'is_undated'), 0), pg_table_size(c.oid), "
      "pg_indexes_size(c.oid) FROM @.buckets b JOIN pg_class c ON c.oid = "
      "to_regclass('@.known_ids_' || b.bucket) LEFT JOIN pg_stat_all_tables t ON t.relid = c.oid "
      "ORDER BY b.bucket");
  s.measure_rest = name(
      "read figures",
      "SELECT pg_total_relation_size('@.outbox'), (SELECT count(*) FROM @.outbox WHERE state = 0), "
      "(SELECT count(*) FROM @.outbox WHERE kept), (SELECT count(*) FROM @.positions), (SELECT "
      "count(*) FROM @.positions WHERE last_offset IS NULL OR coalesce(log_time_ms, -1) < 0), "
      "(SELECT count(*) FROM @.meta m WHERE " +
          std::string(kIsUpkeepError) + " AND " + kIsAlive + ")");
  s.list_scopes = name("verify scopes", "SELECT scope, name FROM @.scopes");
  s.list_buckets =
      name("verify ids",
           "SELECT bucket, coalesce(pg_relation_size(to_regclass('@.known_ids_' || bucket)), 0) / "
           "current_setting('block_size')::int8 FROM @.buckets ORDER BY bucket");
  s.verify_buckets = name(
      "verify buckets",
      "SELECT coalesce(b.bucket::text, c.name), CASE WHEN c.name IS NULL THEN 'it has no table' "
      "ELSE 'nothing is known of this table' END FROM @.buckets b FULL JOIN (SELECT "
      "p.relname::text AS name FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhrelid WHERE "
      "h.inhparent = '@.known_ids'::regclass) c ON c.name = 'known_ids_' || b.bucket WHERE "
      "b.bucket IS NULL OR c.name IS NULL UNION ALL SELECT bucket::text, 'which one is written to "
      "is not clear' FROM @.buckets WHERE (log_time_max_ms IS NULL) <> (bucket = (SELECT "
      "max(bucket) FROM @.buckets))");
  // How often the indexes find it, over all buckets.
  s.verify_ids = name(
      "verify ids",
      absl::StrCat("SELECT i.scope, i.id, (SELECT count(*) FROM (SELECT FROM @.known_ids o WHERE "
                   "o.scope = i.scope AND o.id = i.id OFFSET 0) AS found), ",
                   kIdCells, " FROM @.known_ids i WHERE ", kPages));
  s.verify_letters = name(
      "verify letters",
      "SELECT o.sequence, o.origin, o.state, o.payload, o.kept, o.scope IS NOT NULL AND s.scope IS "
      "NULL, (SELECT count(*) FROM (SELECT FROM @.known_ids i WHERE o.kept AND i.scope = o.scope "
      "AND i.id = o.id OFFSET 0) AS found) FROM @.outbox o LEFT JOIN @.scopes s ON s.scope = "
      "o.scope WHERE o.sequence > $1::int8 ORDER BY o.sequence LIMIT $2::int8");
  s.put_upkeep_error =
      name("look after ids",
           "INSERT INTO @.meta(key, value) VALUES('upkeep_error ' || convert_from($1::bytea, "
           "'UTF8'), convert_from($2::bytea, 'UTF8')) ON CONFLICT (key) DO UPDATE SET value = "
           "EXCLUDED.value");
  // And of those that are gone.
  s.drop_upkeep_error =
      name("look after ids", absl::StrCat("DELETE FROM @.meta m WHERE key = 'upkeep_error ' || "
                                          "convert_from($1::bytea, 'UTF8') OR ",
                                          kIsUpkeepError, " AND NOT ", kIsAlive));
  s.list_upkeep_errors =
      name("read statistics",
           absl::StrCat("SELECT substr(key, 14) || ': ' || value FROM @.meta m WHERE ",
                        kIsUpkeepError, " AND ", kIsAlive, " ORDER BY key"));
}

constexpr const char* kLookAfterIds = "look after ids";

// Of buckets and of who looks after them; parameters: see bucket_upkeep.cc.
void NameBuckets(Statements& s, const Namer& name) {
  constexpr const char* kOperation = kLookAfterIds;
  // The log time of every partition that there is a row of.
  constexpr const char* kAllAreKnown =
      "coalesce(bool_and(last_offset IS NOT NULL AND coalesce(log_time_ms, -1) >= 0), false)";
  constexpr const char* kGreatest = "max(greatest(log_time_ms, log_time_max_ms))";
  constexpr const char* kMicros = "(extract(epoch FROM clock_timestamp()) * 1000000)::int8";
  s.rest = name(kOperation,
                absl::StrCat("INSERT INTO @.meta(key, value) VALUES('upkeep_rest', (", kMicros,
                             " + $1::int8)::text) ON CONFLICT (key) DO UPDATE SET "
                             "value = EXCLUDED.value"));
  // A clock that was set back makes nobody rest for long.
  const std::string is_at_rest =
      absl::StrCat("SELECT EXISTS (SELECT FROM @.meta WHERE key = 'upkeep_rest' AND value::int8 ",
                   "BETWEEN ", kMicros, " AND ", kMicros, " + 60000000)");
  s.try_upkeep =
      name(kOperation, "SELECT pg_try_advisory_lock(hashtext('once upkeep'), hashtext('@'))");
  s.release_upkeep =
      name(kOperation, "SELECT pg_advisory_unlock(hashtext('once upkeep'), hashtext('@'))");
  s.exclude_ids =
      name(kOperation, "SELECT pg_advisory_xact_lock(hashtext('once ids'), hashtext('@'))");
  s.count_buckets = name("count buckets", "SELECT count(*) FROM @.buckets");
  s.look_at_buckets = name(
      kOperation,
      absl::StrCat("SELECT n.*, b.bucket, b.log_time_min_ms, p.*, r.* FROM (SELECT count(*) FILTER "
                   "(WHERE bucket <> ",
                   kPermanentBucket, "), count(*) FILTER (WHERE bucket = ", kPermanentBucket,
                   ") FROM @.buckets) n, (SELECT * FROM @.buckets ORDER BY bucket DESC LIMIT 1) b, "
                   "(SELECT ",
                   kAllAreKnown, ", ", kGreatest, ", min(log_time_ms) FROM @.positions) p, (",
                   is_at_rest, ") r"));
  s.date_bucket =
      name(kOperation,
           "UPDATE @.buckets SET log_time_min_ms = $2::int8 WHERE bucket = $1::int8 AND "
           "log_time_min_ms IS NULL");
  s.close_bucket = name(
      "close a bucket",
      absl::StrCat(
          "WITH log AS (SELECT ", kGreatest, " AS greatest FROM @.positions HAVING ", kAllAreKnown,
          "), closed AS (UPDATE @.buckets SET log_time_max_ms = log.greatest FROM log "
          "WHERE bucket = $1::int8 AND bucket = (SELECT max(bucket) FROM @.buckets) "
          "RETURNING 1), opened AS (INSERT INTO @.buckets(bucket, log_time_min_ms) SELECT "
          "$1::int8 + 1, greatest FROM log) SELECT 1 / (SELECT count(*) FROM closed)::int"));
  s.find_expired_bucket =
      name(kOperation,
           "SELECT bucket FROM @.buckets WHERE log_time_max_ms < $1::int8 ORDER BY bucket LIMIT 1");
  // Nothing is ever older than its greatest log time.
  s.note_permanent_bucket =
      name("begin the permanent bucket",
           absl::StrCat("INSERT INTO @.buckets(bucket, log_time_max_ms) VALUES(", kPermanentBucket,
                        ", ", std::numeric_limits<std::int64_t>::max(), ")"));
  // Still as old as it was: an operator may have set a position back.
  s.forget_bucket =
      name("drop a bucket",
           absl::StrCat("WITH log AS (SELECT min(log_time_ms) AS lowest FROM @.positions HAVING ",
                        kAllAreKnown,
                        "), gone AS (DELETE FROM @.buckets USING log WHERE bucket = $1::int8 AND "
                        "log_time_max_ms < log.lowest - $2::int8 RETURNING 1) SELECT 1 / (SELECT "
                        "count(*) FROM gone)::int"));
}

// What is in a bucket that is old enough to go.
void NameOutliving(Statements& s, const Namer& name) {
  constexpr const char* kOperation = kLookAfterIds;
  // 1: completed, 4: discarded (IdState). Whoever claims an id has said whether he has begun.
  constexpr const char* kOutlives =
      "(state NOT IN (1, 4) OR is_begun IS NOT NULL OR coalesce(is_undated, false))";
  s.count_bucket_pages =
      name(kOperation,
           "SELECT pg_relation_size(convert_from($1::bytea, 'UTF8')::regclass) / "
           "current_setting('block_size')::int8");
  s.find_outliving =
      name(kOperation, absl::StrCat("SELECT EXISTS (SELECT FROM @.known_ids i WHERE ", kPages,
                                    " AND ", kOutlives, ")"));
  s.move_outliving = name(
      "move ids that outlive their age",
      absl::StrCat("WITH outliving AS MATERIALIZED (SELECT ctid AS place FROM @.known_ids i WHERE ",
                   kPages, " AND ", kOutlives,
                   " LIMIT $4::int8 FOR UPDATE SKIP LOCKED) UPDATE @.known_ids i SET bucket = ",
                   kPermanentBucket,
                   " WHERE i.bucket = $1::int8::int4 AND i.ctid = ANY(ARRAY(SELECT place FROM "
                   "outliving))"));
}

}  // namespace

Statements::Statements(const StoreOptions& options) {
  const Namer name(options.schema);
  NameWaits(*this, name, options);
  NameCleaning(*this, name);
  NameTransactions(*this, name);
  NamePositions(*this, name);
  NameIds(*this, name);
  NameBuckets(*this, name);
  NameOutliving(*this, name);
  NameMaintenance(*this, name);
  NameLetters(*this, name);
  NameOutbox(*this, name);
  NameNotes(*this, name);
  NameOutgoing(*this, name);
}

}  // namespace once::postgres
