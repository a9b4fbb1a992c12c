// Stores as earlier versions have left them. Thread-safety: none.
#pragma once

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "adapters/postgres/id_rows.h"
#include "adapters/postgres/tests/test_server.h"
#include "once/abseil.h"

namespace once::postgres {

// The store becomes what version 4 had left: without a log of outgoing messages.
inline void ReturnToFormat4(const std::string& connection, const std::string& schema) {
  for (const char* const sql :
       {"DROP TABLE @.outgoing, @.outgoing_lanes, @.outgoing_facts, @.outgoing_streams, "
        "@.outgoing_voids",
        "DO $$ BEGIN FOR lane IN 0..15 LOOP EXECUTE format('DROP SEQUENCE @.outgoing_%s', lane); "
        "END LOOP; END $$",
        "UPDATE @.meta SET value = '4' WHERE key = 'format'"}) {
    testing::RunSql(connection, absl::StrReplaceAll(sql, {{"@", schema}}));
  }
}

// The store becomes what version 2 had left, with an id of each kind that this makes a difference
// to: one completed, one dead, one that a claim has begun.
inline void ReturnToFormat2(const std::string& connection, const std::string& schema) {
  ReturnToFormat4(connection, schema);
  for (const char* const sql :
       {"ALTER TABLE @.positions DROP COLUMN log_time_max_ms", "DROP TABLE @.buckets",
        "DROP TABLE @.notes", "DROP TABLE @.known_ids",
        "CREATE TABLE @.ids(scope int8 NOT NULL, id bytea NOT NULL, state int2 NOT NULL, "
        "fingerprint_high int8, fingerprint_low int8, attempt int4, first_failed_at int8, "
        "not_before int8, fence_incarnation int8, fence_counter int8, lease_end int8, is_begun "
        "bool, may_have_run bool, disposition int2, claim_fingerprint_high int8, "
        "claim_fingerprint_low int8, result bytea, PRIMARY KEY(scope, id))",
        "UPDATE @.meta SET value = '2' WHERE key = 'format'"}) {
    testing::RunSql(connection, absl::StrReplaceAll(sql, {{"@", schema}}));
  }
}

inline void PutFormerId(const std::string& connection, const std::string& schema,
                        std::string_view cells) {
  testing::RunSql(
      connection,
      absl::StrCat("INSERT INTO ", schema, ".ids(scope, id, state, attempt, is_begun, result) ",
                   "VALUES(", ScopeNumber("scope"), ", ", ToAbsl(cells), ")"));
}

}  // namespace once::postgres
