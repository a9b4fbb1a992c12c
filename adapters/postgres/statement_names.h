// What the texts of statements are made of, and the parts of them by theme. Private to
// statements*.cc. Pure.
#pragma once

#include <string>
#include <string_view>

#include "absl/strings/str_replace.h"
#include "adapters/postgres/statements.h"

namespace once::postgres {

inline constexpr const char* kIdKeys =
    "unnest($1::int8[], $2::bytea[]) WITH ORDINALITY AS k(scope, id, n)";
inline constexpr const char* kIdColumns =
    "state, fingerprint_high, fingerprint_low, attempt, first_failed_at, not_before, "
    "fence_incarnation, fence_counter, lease_end, is_begun, may_have_run, disposition, "
    "claim_fingerprint_high, claim_fingerprint_low, result";
inline constexpr const char* kIdCells =
    "i.state, i.fingerprint_high, i.fingerprint_low, i.attempt, i.first_failed_at, i.not_before, "
    "i.fence_incarnation, i.fence_counter, i.lease_end, i.is_begun, i.may_have_run, i.disposition, "
    "i.claim_fingerprint_high, i.claim_fingerprint_low, i.result";
class Namer {
 public:
  explicit Namer(std::string_view schema) : schema_(schema) {}

  // In every text, @ is the schema.
  Statement operator()(std::string_view operation, const std::string& sql,
                       std::string_view lost_race = {}) const {
    return {.operation = std::string(operation),
            .sql = absl::StrReplaceAll(sql, {{"@", schema_}}),
            .lost_race = lost_race};
  }

 private:
  const std::string schema_;
};

// statements_outbox.cc
void NameLetters(Statements& s, const Namer& name);
void NameOutbox(Statements& s, const Namer& name);
void NameNotes(Statements& s, const Namer& name);
// statements_outgoing.cc
void NameOutgoing(Statements& s, const Namer& name);
// Of put_outgoing_rows, also for sessions that are not the store's.
std::string PutOutgoingRowsSql(std::string_view schema);

}  // namespace once::postgres
