// Outbox and position rows; those of ids are in id_rows.cc.
#include "adapters/postgres/rows.h"

#include "absl/strings/str_cat.h"
#include "adapters/postgres/letter_rows.h"
#include "adapters/postgres/position_rows.h"
#include "once/abseil.h"
#include "src/stores/notes.h"

namespace once::postgres {
namespace {

using NumberedIds = std::set<std::pair<std::int64_t, std::string>>;

Params IdParams(const NumberedIds& ids) {
  Column scopes(Column::Type::kInt8);
  Column names(Column::Type::kBytes);
  for (const auto& [scope, id] : ids) {
    scopes.Add(scope);
    names.AddBytes(id);
  }
  return std::move(Params().Array(scopes).Array(names));
}

}  // namespace

void PostgresRows::QueueOutboxRow(const OutboxRow& row) {
  has_put_letters_ = true;
  // In the order of the calls: what was let go of before this letter is not this letter.
  FlushVoids();
  std::optional<std::int64_t> scope;
  if (!row.id.empty()) scope = ids_.Intern(row.scope);
  session_.Queue(database_.statements().put_outgoing, OutboxParams(row, scope, true));
  has_written_ = true;
}

absl::StatusOr<bool> PostgresRows::PutOutboxRow(const OutboxRow& row) {
  QueueOutboxRow(row);
  const auto results = Run();
  if (!results.ok()) return results.status();
  return results->back().rows() > 0;
}

absl::Status PostgresRows::HoldLetter(const IdKey& key, const OutboxRow& row) {
  const std::int64_t scope = ids_.Intern(key.scope);
  has_put_letters_ = true;
  voids_.emplace(scope, key.id);
  FlushVoids();
  OutboxRow held = row;
  held.id = std::string(key.id);
  session_.Queue(database_.statements().hold_letter, OutboxParams(held, scope, false));
  has_written_ = true;
  return absl::OkStatus();
}

absl::Status PostgresRows::MarkLetterPublished(const IdKey& key) {
  session_.Queue(database_.statements().publish_letter,
                 IdParams({{ScopeNumber(key.scope), std::string(key.id)}}));
  has_written_ = true;
  return absl::OkStatus();
}

absl::Status PostgresRows::VoidLetters(const IdKey& key) {
  if (has_put_letters_ || ids_.may_have_letters()) voids_.emplace(ScopeNumber(key.scope), key.id);
  return absl::OkStatus();
}

void PostgresRows::FlushVoids() {
  if (voids_.empty()) return;
  session_.Queue(database_.statements().void_letters, IdParams(voids_));
  voids_.clear();
  has_written_ = true;
}

absl::Status PostgresRows::DropLetter(std::int64_t number) {
  session_.Queue(database_.statements().drop_letter, std::move(Params().Int8(number)));
  has_written_ = true;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<stores::KeptLetter>> PostgresRows::FindLetter(std::int64_t number) {
  session_.Queue(database_.statements().lock_letter, std::move(Params().Int8(number)));
  session_.Queue(database_.statements().find_letter, std::move(Params().Int8(number)));
  const auto results = Run();
  if (!results.ok()) return results.status();
  if (results->back().rows() == 0) return std::nullopt;
  absl::StatusOr<stores::KeptLetter> letter = LetterAt(results->back(), 0, clock());
  if (!letter.ok()) return letter.status();
  if (letter->failure.id.empty()) return *std::move(letter);
  // Once more, under a lock.
  const auto rows = Find({.scope = letter->failure.scope, .id = letter->failure.id});
  if (!rows.ok()) return rows.status();
  letter->rows = *rows;
  letter->failure.state = stores::VisibleRecord(*rows, clock()).state;
  return *std::move(letter);
}

absl::StatusOr<std::int32_t> PostgresRows::NextRedrive(const IdKey& key) {
  session_.Queue(database_.statements().last_redrive,
                 std::move(Params().Int8(ScopeNumber(key.scope)).Bytes(key.id)));
  const auto results = Run();
  if (!results.ok()) return results.status();
  return static_cast<std::int32_t>(results->back().Int(0, 0) - 1);
}

absl::StatusOr<std::vector<std::optional<StoredPosition>>> PostgresRows::LockPositions(
    std::span<const PartitionKey> keys) {
  session_.Queue(database_.statements().lock_positions, KeyParams(keys));
  const auto results = Run();
  if (!results.ok()) return results.status();
  const Result& found = results->back();
  std::vector<std::optional<StoredPosition>> positions(keys.size());
  for (int row = 0; row < found.rows(); ++row) {
    absl::StatusOr<StoredPosition> position = PositionAt(found, row);
    if (!position.ok()) return position.status();
    positions[KeyIndex(found, row)] = *std::move(position);
  }
  return positions;
}

absl::StatusOr<std::optional<StoredPosition>> PostgresRows::FindPosition(const PartitionKey& key) {
  if (const auto written = positions_.find(key); written != positions_.end()) {
    return written->second;
  }
  auto found = LockPositions({&key, 1});
  if (!found.ok()) return found.status();
  return std::move(found->front());
}

absl::Status PostgresRows::PutPosition(const StoredPosition& row) {
  positions_.insert_or_assign(row.key, row);
  return absl::OkStatus();
}

absl::Status PostgresRows::FindNotes(std::span<const std::string_view> keys,
                                     std::span<std::string> values) {
  Column column(Column::Type::kBytes);
  for (const std::string_view key : keys) column.AddBytes(key);
  session_.Queue(database_.statements().find_notes, std::move(Params().Array(column)));
  const auto results = Run();
  if (!results.ok()) return results.status();
  for (std::string& value : values) value.clear();
  const Result& found = results->back();
  for (int row = 0; row < found.rows(); ++row) {
    values[static_cast<std::size_t>(found.Int(row, 0) - 1)] = found.Bytes(row, 1);
  }
  for (std::size_t i = 0; i < keys.size() && !notes_.empty(); ++i) {
    const auto written = notes_.find(keys[i]);
    if (written != notes_.end()) values[i] = written->second;
  }
  return absl::OkStatus();
}

absl::Status PostgresRows::PutNotes(std::span<const Note> notes) {
  for (const Note& note : notes) {
    if (absl::Status valid = stores::CheckNote(note); !valid.ok()) return valid;
    notes_.insert_or_assign(std::string(note.key), std::string(note.value));
  }
  return absl::OkStatus();
}

void PostgresRows::FlushNotes() {
  if (notes_.empty()) return;
  Column forgotten(Column::Type::kBytes);
  Column keys(Column::Type::kBytes);
  Column values(Column::Type::kBytes);
  std::size_t kept = 0;
  for (const auto& [key, value] : notes_) {
    if (value.empty()) {
      forgotten.AddBytes(key);
      continue;
    }
    keys.AddBytes(key);
    values.AddBytes(value);
    ++kept;
  }
  const Statements& statements = database_.statements();
  if (kept < notes_.size()) {
    session_.Queue(statements.forget_notes, std::move(Params().Array(forgotten)));
  }
  if (kept > 0) {
    session_.Queue(statements.put_notes, std::move(Params().Array(keys).Array(values)));
  }
  notes_.clear();
  has_written_ = true;
}

bool PostgresRows::Flush() {
  has_written_ = ids_.Flush() || has_written_;
  FlushVoids();
  FlushNotes();
  if (!positions_.empty()) {
    std::vector<StoredPosition> rows;
    for (const auto& [key, row] : positions_) rows.push_back(row);
    session_.Queue(database_.statements().put_positions, PositionParams(rows));
    positions_.clear();
    has_written_ = true;
  }
  return has_written_;
}

void PostgresRows::Mark() { ids_.Mark(); }

void PostgresRows::Undo() {
  ids_.Undo();
  voids_.clear();
  positions_.clear();
  notes_.clear();
}

absl::Status PostgresTransactions::Write(std::string_view operation, Durability wanted,
                                         absl::FunctionRef<absl::Status(stores::Rows&)> work) {
  const auto session = database_->Acquire(operation);
  if (!session.ok()) return session.status();
  (*session)->Queue(database_->statements().begin);
  (*session)->Queue(database_->statements().share_ids);
  PostgresRows rows(*database_, **session, Locking::kAll);
  absl::Status done = work(rows);
  if (done.ok()) {
    const bool is_word = wanted != Durability::kMachine;
    // Who answers what another opening has settled, and has perhaps not synced, puts a word of his
    // own behind it: his next Sync() then speaks for both.
    const bool is_to_be_synced = rows.Flush() || rows.has_found_settled();
    if (!is_to_be_synced && is_word) return absl::OkStatus();  // nothing was to be changed
    done = is_word ? database_->CommitWords(**session)
                   : database_->Commit(**session, wanted, "ask what it finds before repeating it");
  }
  if (done.ok() && wanted == Durability::kMachine) rows.NoteCommitted();
  // Nothing was applied, and there is nobody here who would begin again: the caller is.
  if (absl::IsAborted(done)) return absl::UnavailableError(done.message());
  return done;
}

}  // namespace once::postgres
