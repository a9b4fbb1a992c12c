// Letters as rows, and when they become void.
#include "adapters/sqlite/letter_rows.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/stores/outbox_codec.h"

namespace once::sqlite {

using stores::DecodeMessage;
using stores::DecodeOrigin;
using stores::EncodeMessage;
using stores::EncodeOrigin;
using stores::OutboxState;

namespace {

// Where the columns of SelectLetters() (statements.cc) lie.
enum Column : int {
  kNumber,
  kOrigin,
  kState,
  kPayload,
  kReason,
  kScope,
  kId,
  kRedrives,
};

absl::Status Damaged(std::int64_t number) {
  return absl::DataLossError(
      absl::StrCat("sqlite: outbox row ", number, " is damaged; restore a backup"));
}

}  // namespace

absl::StatusOr<bool> PutOutboxRow(Database& database, IdTable& ids, const OutboxRow& row) {
  Statement& put = database.statements().put_outgoing;
  const std::string origin = EncodeOrigin(row.origin);
  const std::string payload = EncodeMessage(row.message);
  const bool is_letter = row.origin.ordinal == 0;
  put.BindBytes(1, origin);
  put.BindBytes(2, payload);
  if (!row.id.empty()) {
    const auto scope = ids.InternScope(row.scope);
    if (!scope.ok()) return scope.status();
    put.Bind(3, *scope);
    put.BindBytes(4, row.id);
  }
  put.Bind(5, row.origin.ordinal);
  if (is_letter) put.Bind(6, 1);
  if (absl::Status status = put.Run(); !status.ok()) return status;
  if (sqlite3_changes(database.writer()) == 0) return false;
  if (!is_letter || row.id.empty()) return true;
  database.NoteLetters();
  absl::Status made_void = VoidLetters(database, ids, {.scope = row.scope, .id = row.id},
                                       sqlite3_last_insert_rowid(database.writer()));
  if (!made_void.ok()) return made_void;
  return true;
}

absl::Status HoldLetter(Database& database, IdTable& ids, const IdKey& key, const OutboxRow& row) {
  const auto scope = ids.InternScope(key.scope);
  if (!scope.ok()) return scope.status();
  Statement& hold = database.statements().hold_letter;
  const std::string origin = EncodeOrigin(row.origin);
  const std::string payload = EncodeMessage(row.message);
  hold.BindBytes(1, origin);
  hold.BindBytes(2, payload);
  hold.Bind(3, *scope);
  hold.BindBytes(4, key.id);
  if (absl::Status held = hold.Run(); !held.ok()) return held;
  database.NoteLetters();
  return VoidLetters(database, ids, key, sqlite3_last_insert_rowid(database.writer()));
}

absl::Status MarkLetterPublished(Database& database, IdTable& ids, const IdKey& key) {
  const auto scope = ids.InternScope(key.scope);
  if (!scope.ok()) return scope.status();
  Statement& mark = database.statements().publish_letter;
  mark.Bind(1, *scope);
  mark.BindBytes(2, key.id);
  return mark.Run();
}

absl::Status VoidLetters(Database& database, IdTable& ids, const IdKey& key, std::int64_t except) {
  if (!database.has_letters()) return absl::OkStatus();
  const auto scope = ids.FindScope(key.scope);
  if (!scope.ok()) return scope.status();
  if (!*scope) return absl::OkStatus();
  Statement& make_void = database.statements().void_letters;
  make_void.Bind(1, **scope);
  make_void.BindBytes(2, key.id);
  make_void.Bind(3, except);
  return make_void.Run();
}

absl::Status DropLetter(Database& database, std::int64_t number) {
  Statement& drop = database.statements().drop_letter;
  drop.Bind(1, number);
  return drop.Run();
}

absl::StatusOr<KeptLetter> LetterAt(const Statement& row, const stores::LeaseClock& clock,
                                    FindRows find_rows) {
  KeptLetter kept;
  StoredFailure& failure = kept.failure;
  failure.number = row.Int(kNumber);
  absl::StatusOr<OutboxOrigin> origin = DecodeOrigin(row.Bytes(kOrigin));
  absl::StatusOr<OutgoingMessage> letter = DecodeMessage(row.Bytes(kPayload));
  if (!origin.ok() || !letter.ok()) return Damaged(failure.number);
  failure.origin = *std::move(origin);
  failure.letter = *std::move(letter);
  failure.scope = std::string(row.Bytes(kScope));
  failure.id = std::string(row.Bytes(kId));
  const auto state = static_cast<OutboxState>(row.Int(kState));
  failure.is_published = state == OutboxState::kPublished;
  if (state == OutboxState::kParked) failure.parked_reason = std::string(row.Bytes(kReason));
  failure.redrives = static_cast<int>(row.Int(kRedrives));
  if (failure.id.empty()) return kept;
  absl::StatusOr<stores::IdRows> rows = find_rows({.scope = failure.scope, .id = failure.id});
  if (!rows.ok()) return rows.status();
  kept.rows = *std::move(rows);
  failure.state = stores::VisibleRecord(kept.rows, clock).state;
  return kept;
}

absl::StatusOr<std::optional<KeptLetter>> FindLetter(Database& database, IdTable& ids,
                                                     std::int64_t number) {
  Statement& find = database.statements().find_letter;
  find.Bind(1, number);
  const absl::StatusOr<bool> has_row = find.Step();
  if (!has_row.ok()) return has_row.status();
  if (!*has_row) return std::nullopt;
  absl::StatusOr<KeptLetter> letter =
      LetterAt(find, database.clock(), [&](const IdKey& key) { return ids.Find(key); });
  find.Reset();
  if (!letter.ok()) return letter.status();
  return *std::move(letter);
}

absl::StatusOr<std::int32_t> NextRedrive(Database& database, IdTable& ids, const IdKey& key) {
  const auto scope = ids.FindScope(key.scope);
  if (!scope.ok()) return scope.status();
  if (!*scope) return -1;
  Statement& find = database.statements().last_redrive;
  find.Bind(1, **scope);
  find.BindBytes(2, key.id);
  const absl::StatusOr<bool> has_row = find.Step();
  if (!has_row.ok()) return has_row.status();
  const std::int64_t last = *has_row ? find.Int(0) : 0;
  find.Reset();
  return static_cast<std::int32_t>(last - 1);
}

}  // namespace once::sqlite
