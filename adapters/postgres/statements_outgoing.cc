// Statements of outgoing messages and of the relays that share their lanes. Parameters are numbered
// as the code that gives them says: outgoing_rows.cc, lane_session.cc, outgoing.cc,
// outgoing_operations.cc.
#include <string>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/outgoing_rows.h"
#include "adapters/postgres/statement_names.h"
#include "once/abseil.h"

namespace once::postgres {
namespace {

constexpr const char* kRowColumns = "lane, number, ordering, put_at, message";
constexpr const char* kMicros = "(extract(epoch FROM clock_timestamp()) * 1000000)::int8";

// Locks of sessions of this database, by two numbers as the server shows them.
constexpr const char* kLocks =
    "(SELECT classid::int8 AS class, objid::int8 AS object, pid FROM pg_locks WHERE locktype = "
    "'advisory' AND granted AND objsubid = 2 AND database = (SELECT oid FROM pg_database WHERE "
    "datname = current_database()))";

// The greatest number of a lane that anybody has drawn.
constexpr const char* kLastDrawn =
    "coalesce(pg_sequence_last_value(('@.outgoing_' || l.lane)::regclass), 0)";

// Which row a fact's key is about.
constexpr const char* kFactNumber = "('x' || encode(substr(f.key, 2), 'hex'))::bit(64)::int8";

std::string Shown(std::string_view number) {
  return absl::StrCat("(", ToAbsl(number), "::int8 & 4294967295)");
}

// Of the rows that `condition` finds the first so many, and, but for the first, bytes: the values
// are not read before it is known which ones they are.
std::string FirstRows(std::string_view condition, std::string_view rows_max,
                      std::string_view bytes_max) {
  return absl::StrCat("SELECT ", kRowColumns, " FROM (SELECT ", kRowColumns,
                      ", sum(octet_length(message)) OVER running AS bytes, row_number() OVER "
                      "running AS place FROM (SELECT ",
                      kRowColumns, " FROM @.outgoing o WHERE ", ToAbsl(condition),
                      " ORDER BY number LIMIT ", ToAbsl(rows_max),
                      ") AS next WINDOW running AS (ORDER BY number ROWS UNBOUNDED PRECEDING)) AS "
                      "counted WHERE bytes <= ",
                      ToAbsl(bytes_max), " OR place = 1 ORDER BY number");
}

// The same where the first so many rows have no more bytes than that together, as mostly they
// have: to add them up costs half of what it costs to count row by row. Else nothing.
std::string FirstRowsIfSmall(std::string_view condition, std::string_view rows_max,
                             std::string_view bytes_max) {
  const std::string first = absl::StrCat(" FROM @.outgoing o WHERE ", ToAbsl(condition));
  const std::string in_order = absl::StrCat(" ORDER BY number LIMIT ", ToAbsl(rows_max));
  return absl::StrCat("SELECT ", kRowColumns, first,
                      " AND (SELECT sum(octet_length(message)) <= ", ToAbsl(bytes_max),
                      " FROM (SELECT message", first, in_order, ") AS next)", in_order);
}

}  // namespace

// A number of the lane is drawn when the locks of the orders are held, so that numbers of one order
// are in the order of commits, and when the transaction has a number of the server, so that holes
// can be dated (number_holes.h).
std::string PutOutgoingRowsSql(std::string_view schema) {
  const Namer name(schema);
  return name("publish",
              absl::StrCat(
                  "WITH held AS MATERIALIZED (SELECT count(pg_advisory_xact_lock(hashtext('once "
                  "order @'), k.lock)) AS locks, pg_current_xact_id() AS transaction FROM (SELECT "
                  "DISTINCT u.lock FROM unnest($1::int4[]) AS u(lock) ORDER BY 1) AS k) INSERT "
                  "INTO @.outgoing(",
                  kRowColumns, ") SELECT r.lane, nextval(('@.outgoing_' || r.lane)::regclass), ",
                  "r.ordering, ", kMicros,
                  ", r.message FROM held, (SELECT * FROM unnest($2::int4[], $3::int8[], "
                  "$4::bytea[]) WITH ORDINALITY AS u(lane, ordering, message, n) ORDER BY u.n) AS "
                  "r WHERE held.transaction IS NOT NULL"))
      .sql;
}

namespace {

// Which lanes there are, who has them, and how many share them.
void NameLanes(Statements& s, const Namer& name) {
  constexpr const char* kOperation = "share lanes";
  // Indexes are right, in their order, whatever the statistics say of tables that were empty a
  // minute ago: anything else would read all that waits in a lane to find the first of it.
  for (const char* const way : {"seqscan", "bitmapscan", "hashjoin", "mergejoin"}) {
    s.plan_for_relay.push_back(name(kOperation, absl::StrCat("SET enable_", way, " TO off")));
  }
  s.join_relays =
      name(kOperation, "SELECT pg_advisory_lock_shared(hashtext('once relays'), hashtext('@'))");
  s.survey_lanes =
      name(kOperation,
           absl::StrCat("WITH locks AS MATERIALIZED (SELECT * FROM ", kLocks,
                        " AS all_locks) SELECT l.lane, EXISTS (SELECT FROM locks WHERE class = ",
                        Shown("hashtext('once lane @')"),
                        " AND object = l.lane), (SELECT count(*) FROM locks WHERE class = ",
                        Shown("hashtext('once relays')"), " AND object = ", Shown("hashtext('@')"),
                        "), ", kLastDrawn, " FROM @.outgoing_lanes l ORDER BY l.lane"));
  // 3 and 4 are the lane's holes; 6 is the number behind which it looks.
  s.check_numbers = name(
      kOperation,
      absl::StrCat("SELECT ", kLastDrawn,
                   ", (SELECT count(*) FROM (SELECT FROM @.outgoing o WHERE o.lane = $1::int4 AND "
                   "o.number <= $2::int8 AND o.number > $6::int8 AND NOT EXISTS (SELECT FROM "
                   "unnest($3::int8[], $4::int8[]) "
                   "AS h(first, last) WHERE o.number BETWEEN h.first AND h.last) LIMIT $5::int8) "
                   "AS passed) FROM (SELECT $1::int4) AS l(lane)"));
  s.take_lanes = name(kOperation,
                      "SELECT k.lane FROM unnest($1::int4[]) AS k(lane) WHERE "
                      "pg_try_advisory_lock(hashtext('once lane @'), k.lane)");
  s.own_lanes = name(kOperation,
                     "UPDATE @.outgoing_lanes SET owner = $2::int8, revision = revision + 1 WHERE "
                     "lane = ANY($1::int4[])");
  s.give_up_lanes = name(kOperation,
                         "SELECT pg_advisory_unlock(hashtext('once lane @'), k.lane) FROM "
                         "unnest($1::int4[]) AS k(lane)");
  s.leave_relays = name(kOperation, "SELECT pg_advisory_unlock_all()");
  s.hold_epoch =
      name(kOperation, "SELECT pg_advisory_lock_shared(hashtext('once epoch @'), $1::int4)");
  // 'r': rounds (OutgoingState). A relay's own session says nothing of epochs that it has ended.
  s.find_epoch = name(
      "find an epoch",
      absl::StrCat("SELECT EXISTS (SELECT FROM @.outgoing_lanes l CROSS JOIN LATERAL (SELECT value "
                   "FROM @.outgoing_facts WHERE lane = l.lane AND key >= 'r'::bytea AND key < "
                   "'s'::bytea OFFSET 0) AS f WHERE substr(f.value, 1, length($1::bytea)) = $1) OR "
                   "EXISTS (SELECT FROM ",
                   kLocks, " AS locks WHERE class = ", Shown("hashtext('once epoch @')"),
                   " AND object = ", Shown("$2::int4"), " AND pid <> pg_backend_pid())"));
  // 3 to 5 are holes: lanes, first and last numbers.
  s.look_at_lanes =
      name("look at lanes",
           "SELECT k.lane, l.owner, l.revision, EXISTS (SELECT FROM @.outgoing o WHERE o.lane = "
           "k.lane AND o.number > k.cursor), EXISTS (SELECT FROM unnest($3::int4[], $4::int8[], "
           "$5::int8[]) AS h(lane, first, last) JOIN @.outgoing o ON o.lane = h.lane AND o.number "
           "BETWEEN h.first AND h.last WHERE h.lane = k.lane), "
           "pg_snapshot_xmin(pg_current_snapshot())::text::int8 FROM unnest($1::int4[], "
           "$2::int8[]) AS k(lane, cursor) JOIN @.outgoing_lanes l ON l.lane = k.lane");
  // A lane that is not the owner's any more, or that somebody else has changed, ends the pipeline.
  s.advance_lanes = name(
      "relay outgoing messages",
      "WITH changed AS (UPDATE @.outgoing_lanes l SET revision = l.revision + 1, first_number = "
      "k.first FROM unnest($1::int4[], $2::int8[], $3::int8[]) AS k(lane, revision, first) WHERE "
      "l.lane = k.lane AND l.owner = $4::int8 AND l.revision = k.revision RETURNING 1) SELECT 1 / "
      "(count(*) = cardinality($1))::int, pg_current_xact_id()::text::int8 FROM changed",
      "22012");
  s.hold_lane = name("change outgoing messages",
                     "SELECT revision FROM @.outgoing_lanes WHERE lane = $1::int4 FOR UPDATE");
  s.touch_lane = name("change outgoing messages",
                      "UPDATE @.outgoing_lanes SET revision = revision + 1 WHERE lane = $1::int4");
}

void NameFacts(Statements& s, const Namer& name) {
  constexpr const char* kOperation = "relay outgoing messages";
  s.read_facts = name("read outgoing messages",
                      "SELECT l.owner, l.revision, f.key, f.value FROM @.outgoing_lanes l LEFT "
                      "JOIN @.outgoing_facts f ON f.lane = l.lane WHERE l.lane = $1::int4");
  s.next_transaction = name("read outgoing messages", "SELECT pg_current_xact_id()::text::int8");
  s.put_facts = name(kOperation,
                     "INSERT INTO @.outgoing_facts(lane, key, value) SELECT * FROM "
                     "unnest($1::int4[], $2::bytea[], $3::bytea[]) ORDER BY 1, 2 ON CONFLICT "
                     "(lane, key) DO UPDATE SET value = EXCLUDED.value");
  s.forget_facts = name(kOperation,
                        "DELETE FROM @.outgoing_facts f USING unnest($1::int4[], $2::bytea[]) AS "
                        "k(lane, key) WHERE f.lane = k.lane AND f.key = k.key");
  s.put_streams = name(
      kOperation,
      "INSERT INTO @.outgoing_streams AS s (epoch, topic, partition, last, first_offset, "
      "last_offset) SELECT * FROM unnest($1::int8[], $2::bytea[], $3::int4[], $4::int8[], "
      "$5::int8[], $6::int8[]) ORDER BY 1, 2, 3 ON CONFLICT (epoch, topic, partition) DO UPDATE "
      "SET last = greatest(s.last, EXCLUDED.last), first_offset = CASE WHEN s.first_offset < 0 "
      "THEN EXCLUDED.first_offset WHEN EXCLUDED.first_offset < 0 THEN s.first_offset ELSE "
      "least(s.first_offset, EXCLUDED.first_offset) END, last_offset = greatest(s.last_offset, "
      "EXCLUDED.last_offset)");
  s.list_streams = name("list streams",
                        "SELECT epoch, topic, partition, last, first_offset, last_offset FROM "
                        "@.outgoing_streams ORDER BY 1, 2, 3");
  s.close_epoch = name(kOperation, "DELETE FROM @.outgoing_streams WHERE epoch = $1::int8");
  s.put_voids = name(kOperation,
                     "INSERT INTO @.outgoing_voids(epoch, topic, partition, sequence) SELECT * "
                     "FROM unnest($1::int8[], $2::bytea[], $3::int4[], $4::int8[]) ORDER BY 1, 2, "
                     "3, 4 ON CONFLICT DO NOTHING");
  s.drop_voids = name(kOperation,
                      "DELETE FROM @.outgoing_voids v USING unnest($1::int8[], $2::bytea[], "
                      "$3::int4[], $4::int8[]) AS k(epoch, topic, partition, sequence) WHERE "
                      "v.epoch = k.epoch AND v.topic = k.topic AND v.partition = k.partition AND "
                      "v.sequence = k.sequence");
  s.list_voids = name("list voids",
                      "SELECT epoch, topic, partition, sequence FROM @.outgoing_voids ORDER BY 1, "
                      "2, 3, 4");
}

// $1 is a lane.
void NameReading(Statements& s, const Namer& name) {
  constexpr const char* kBehind = "lane = $1::int4 AND number > $2::int8";
  constexpr const char* kOperation = "find outgoing messages";
  s.find_behind = name(kOperation, FirstRows(kBehind, "$3::int8", "$4::int8"));
  s.find_small_behind = name(kOperation, FirstRowsIfSmall(kBehind, "$3::int8", "$4::int8"));
}

}  // namespace

void NameOutgoing(Statements& s, const Namer& name) {
  s.put_outgoing_rows = name("publish", PutOutgoingRowsSql("@"));
  NameLanes(s, name);
  NameFacts(s, name);
  // $1 is a lane in all of them.
  NameReading(s, name);
  s.find_numbered =
      name("find outgoing messages",
           FirstRows("lane = $1::int4 AND number = ANY($2::int8[])", "$3::int8", "$4::int8"));
  s.find_in_holes =
      name("find outgoing messages",
           FirstRows("lane = $1::int4 AND number = ANY(ARRAY(SELECT i.number FROM "
                     "unnest($2::int8[], $3::int8[]) AS h(first, last) JOIN @.outgoing i ON i.lane "
                     "= $1::int4 AND i.number BETWEEN h.first AND h.last ORDER BY 1 LIMIT "
                     "$4::int8))",
                     "$4::int8", "$5::int8"));
  s.find_orders =
      name("find outgoing messages",
           absl::StrCat("SELECT k.lane, k.number, coalesce(o.ordering, 0), ", kMicros,
                        " FROM unnest($1::int4[], $2::int8[]) AS k(lane, number) LEFT JOIN "
                        "@.outgoing o ON o.lane = k.lane AND o.number = k.number"));
  s.drop_outgoing_rows =
      name("relay outgoing messages",
           "DELETE FROM @.outgoing o USING unnest($1::int4[], $2::int8[], $3::int8[]) AS k(lane, "
           "first, last) WHERE o.lane = k.lane AND o.number BETWEEN k.first AND k.last");

  // For operators. 'p': parked rows (OutgoingState).
  s.list_parked_rows =
      name("list parked messages",
           absl::StrCat(
               "SELECT o.lane, o.number, o.ordering, o.put_at, o.message, f.value, ", kFactNumber,
               " FROM (SELECT l.lane, f.key, f.value FROM @.outgoing_lanes l CROSS JOIN LATERAL "
               "(SELECT key, value FROM @.outgoing_facts WHERE lane = l.lane AND key > "
               "$1::bytea AND key < 'q'::bytea ORDER BY key LIMIT $2::int8) AS f ORDER BY "
               "f.key LIMIT $2::int8) AS f LEFT JOIN @.outgoing o ON o.lane = f.lane AND "
               "o.number = (",
               kFactNumber, " - f.lane) / ", kLanes, " ORDER BY f.key"));
  // 'd': word of rows that were given up.
  s.list_discarded_rows =
      name("list messages that were given up",
           absl::StrCat("SELECT ", kFactNumber,
                        ", f.value FROM (SELECT f.key, f.value FROM @.outgoing_lanes l CROSS JOIN "
                        "LATERAL (SELECT key, value FROM @.outgoing_facts WHERE lane = l.lane AND "
                        "key > $1::bytea AND key < 'e'::bytea ORDER BY key LIMIT $2::int8) AS f "
                        "ORDER BY f.key LIMIT $2::int8) AS f ORDER BY f.key"));
  s.list_outgoing_rows = name(
      "list outgoing messages",
      absl::StrCat("SELECT o.* FROM @.outgoing_lanes l CROSS JOIN LATERAL (SELECT ", kRowColumns,
                   " FROM @.outgoing WHERE lane = l.lane AND number > ($1::int8 "
                   "- l.lane) / ",
                   kLanes,
                   " ORDER BY number LIMIT $2::int8) AS o ORDER BY "
                   "o.number * ",
                   kLanes, " + o.lane LIMIT $2::int8"));
  s.measure_outgoing_rows = name("measure outgoing messages",
                                 "SELECT coalesce(sum(octet_length(message)), 0)::int8 FROM "
                                 "@.outgoing");
  s.count_outgoing_rows = name(
      "count outgoing messages",
      absl::StrCat(
          "SELECT (SELECT count(*) FROM (SELECT FROM @.outgoing_lanes l CROSS JOIN LATERAL (SELECT "
          "FROM @.outgoing WHERE lane = l.lane AND number >= l.first_number LIMIT $1::int8) AS o "
          "LIMIT $1::int8) AS first_rows), (SELECT count(*) FROM @.outgoing_lanes l CROSS JOIN "
          "LATERAL (SELECT FROM @.outgoing_facts WHERE lane = l.lane AND key >= 'p'::bytea AND key "
          "< 'q'::bytea OFFSET 0) AS f), (SELECT min(o.put_at) FROM @.outgoing_lanes l CROSS JOIN "
          "LATERAL (SELECT put_at FROM @.outgoing WHERE lane = l.lane AND number >= l.first_number "
          "ORDER BY number LIMIT 1) AS o), (SELECT n_live_tup FROM "
          "pg_stat_all_tables WHERE relid = '@.outgoing'::regclass)"));
}

}  // namespace once::postgres
