// Statements of letters, of the outbox and of notes. Parameters are numbered as the code that gives
// them says: letter_rows.cc, outbox.cc, rows.cc.
#include <string>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/statement_names.h"
#include "once/abseil.h"

namespace once::postgres {
namespace {

// As LetterAt() reads it: a letter, its redrives, and the row of its id, which is looked for letter
// by letter: there are far more ids than letters.
std::string SelectLetters() {
  return absl::StrCat(
      "SELECT o.sequence, o.origin, o.state, o.payload, o.reason, s.name, o.id, (SELECT count(*) "
      "FROM @.outbox r WHERE r.scope = o.scope AND r.id = o.id AND r.ordinal < 0), ",
      kIdCells,
      " FROM @.outbox o LEFT JOIN @.scopes s ON s.scope = o.scope "
      "LEFT JOIN LATERAL (SELECT ",
      kIdColumns, " FROM @.known_ids WHERE scope = o.scope AND id = o.id OFFSET 0) i ON true ");
}

// What is still to be published keeps its payload until then.
constexpr const char* kLetGo =
    "UPDATE @.outbox o SET kept = NULL, payload = CASE WHEN o.state = 0 THEN o.payload END ";

}  // namespace

// States: 0 pending, 1 published, 2 parked, 3 held (OutboxState).
void NameLetters(Statements& s, const Namer& name) {
  // The statement sees the table as it was before it: a letter does not make itself void.
  s.put_outgoing =
      name("put outbox row",
           absl::StrCat("WITH put AS (INSERT INTO @.outbox(origin, state, payload, scope, id, "
                        "ordinal, kept) VALUES($1::bytea, 0, $2::bytea, $3::int8, $4::bytea, "
                        "$5::int4, CASE WHEN $5::int4 = 0 THEN true END) ON CONFLICT "
                        "(sha256(origin)) DO NOTHING RETURNING scope, id, ordinal), voided AS (",
                        kLetGo,
                        "FROM put WHERE put.ordinal = 0 AND o.scope = put.scope AND o.id = put.id "
                        "AND o.kept) SELECT 1 FROM put"));
  s.hold_letter = name("keep letter",
                       "INSERT INTO @.outbox(origin, state, payload, scope, id, ordinal, kept) "
                       "VALUES($1::bytea, 3, $2::bytea, $3::int8, $4::bytea, 0, true) ON CONFLICT "
                       "(sha256(origin)) DO UPDATE SET sequence = EXCLUDED.sequence, state = 3, "
                       "payload = EXCLUDED.payload, reason = NULL, scope = EXCLUDED.scope, id = "
                       "EXCLUDED.id, ordinal = 0, kept = true");
  s.publish_letter =
      name("mark letter", absl::StrCat("UPDATE @.outbox o SET state = 1 FROM ", kIdKeys,
                                       " WHERE o.scope = k.scope AND o.id "
                                       "= k.id AND o.state = 3"));
  // Mostly there is no letter at all: then nothing is looked for.
  s.void_letters =
      name("let go of letters", absl::StrCat(kLetGo, "FROM ", kIdKeys,
                                             " WHERE EXISTS (SELECT FROM @.outbox WHERE kept) AND "
                                             "o.scope = k.scope AND o.id = k.id AND o.kept"));
  s.drop_letter = name("let go of letter", absl::StrCat(kLetGo, "WHERE o.sequence = $1::int8"));
  s.lock_letter =
      name("find letter", "SELECT 1 FROM @.outbox WHERE sequence = $1::int8 AND kept FOR UPDATE");
  s.find_letter =
      name("find letter", absl::StrCat(SelectLetters(), "WHERE o.sequence = $1::int8 AND o.kept"));
  s.last_redrive = name("count redrives",
                        "SELECT coalesce(min(ordinal), 0) FROM @.outbox WHERE scope = $1::int8 AND "
                        "id = $2::bytea AND ordinal < 0");
  // 1: completed, 4: discarded (IdState).
  s.find_failures =
      name("find letters",
           absl::StrCat(SelectLetters(),
                        "WHERE o.kept AND o.sequence > $1::int8 "
                        "AND ($2::bytea IS NULL OR o.id = $2) AND ($3::int8 IS NULL OR o.scope = "
                        "$3) AND (i.state IS NULL OR i.state NOT IN (1, 4)) "
                        "ORDER BY o.sequence LIMIT $4::int8"));
}

void NameOutbox(Statements& s, const Namer& name) {
  s.find_pending = name("find outbox rows",
                        "SELECT sequence, payload, sha256(origin) FROM @.outbox WHERE state = 0 "
                        "ORDER BY sequence LIMIT $1::int8");
  s.count_pending = name("count outbox rows", "SELECT count(*) FROM @.outbox WHERE state = 0");
  s.mark_published =
      name("mark outbox rows",
           "UPDATE @.outbox o SET state = 1, payload = CASE WHEN o.kept THEN o.payload END FROM "
           "unnest($1::int8[], $2::bytea[]) AS k(sequence, origin) WHERE o.sequence = k.sequence "
           "AND sha256(o.origin) = k.origin AND o.state = 0");
  s.park = name("park outbox row",
                "UPDATE @.outbox SET state = 2, reason = $3::bytea WHERE sequence = $1::int8 AND "
                "sha256(origin) = $2::bytea AND state = 0");
  s.try_relay = name("become the relay",
                     "SELECT pg_try_advisory_lock(hashtext('once relay'), hashtext('@'))");
  s.release_relay =
      name("relay no longer", "SELECT pg_advisory_unlock(hashtext('once relay'), hashtext('@'))");
}

void NameNotes(Statements& s, const Namer& name) {
  // Sorted, so that two transactions never wait for each other. Of one key once: an upsert writes
  // no row twice.
  s.find_notes = name("find notes",
                      "SELECT k.n, o.value FROM unnest($1::bytea[]) WITH ORDINALITY AS k(key, n) "
                      "JOIN @.notes o ON o.key = k.key");
  s.put_notes = name("put notes",
                     "INSERT INTO @.notes(key, value) SELECT k.key, k.value FROM "
                     "unnest($1::bytea[], $2::bytea[]) AS k(key, value) ORDER BY k.key "
                     "ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value");
  s.forget_notes = name("forget notes", "DELETE FROM @.notes WHERE key = ANY($1::bytea[])");
  s.list_notes = name("list notes",
                      "SELECT key, value FROM @.notes WHERE key >= $1::bytea AND key <> $2::bytea "
                      "AND ($3::bytea IS NULL OR key < $3) ORDER BY key LIMIT $4::int8");
}

}  // namespace once::postgres
