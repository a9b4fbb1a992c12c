// Reads in bulk, writes in bulk. Columns are in the order of statements.cc.
#include "adapters/postgres/id_rows.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/claims.h"

namespace once::postgres {

using stores::ClaimRow;
using stores::IdRows;

namespace {

// Each takes room in a table that all of the server's transactions share.
constexpr std::size_t kHeldIdsMax = 64;

absl::Status Damaged(std::string_view what, std::int64_t value) {
  return absl::DataLossError(absl::StrCat("postgres: table known_ids has a row with the unknown ",
                                          ToAbsl(what), " ", value, "; restore a backup"));
}

void AddPrint(Column& high, Column& low, const Fingerprint& print) {
  if (print.is_set()) {
    high.AddUnsigned(print.high);
    low.AddUnsigned(print.low);
  } else {
    high.AddNull();
    low.AddNull();
  }
}

void AddAttempt(Column& column, int attempt) {
  if (attempt != 0) {
    column.Add(attempt);
  } else {
    column.AddNull();
  }
}

// What is known of each id, column by column.
class FullRows {
 public:
  void Add(std::int64_t scope, std::string_view id, const IdRows& rows, std::string_view result) {
    const IdRecord& record = rows.record;
    scopes_.Add(scope);
    ids_.AddBytes(id);
    states_.Add(static_cast<std::int64_t>(record.state));
    AddPrint(highs_, lows_, record.fingerprint);
    AddAttempt(attempts_, record.attempt);
    first_failed_.AddTime(record.first_failed_at);
    not_before_.AddTime(record.not_before);
    AddClaim(rows.claim);
    if (result.empty()) {
      results_.AddNull();
    } else {
      results_.AddBytes(result);
    }
    is_empty_ = false;
  }
  bool is_empty() const { return is_empty_; }

  Params Encode() const {
    Params params;
    for (const Column* column :
         {&scopes_, &ids_, &states_, &highs_, &lows_, &attempts_, &first_failed_, &not_before_,
          &incarnations_, &counters_, &lease_ends_, &begun_, &may_have_run_, &dispositions_,
          &claim_highs_, &claim_lows_, &results_}) {
      params.Array(*column);
    }
    return params;
  }

 private:
  void AddClaim(const std::optional<ClaimRow>& claim) {
    if (!claim) {
      for (Column* column : {&incarnations_, &counters_, &lease_ends_, &begun_, &may_have_run_,
                             &dispositions_, &claim_highs_, &claim_lows_}) {
        column->AddNull();
      }
      return;
    }
    if (claim->fence) {
      incarnations_.AddUnsigned(claim->fence->incarnation);
      counters_.AddUnsigned(claim->fence->counter);
    } else {
      incarnations_.AddNull();
      counters_.AddNull();
    }
    lease_ends_.AddTime(claim->lease_end);
    begun_.Add(claim->is_begun ? 1 : 0);
    may_have_run_.Add(claim->may_have_run ? 1 : 0);
    if (claim->disposition) {
      dispositions_.Add(static_cast<std::int64_t>(*claim->disposition));
    } else {
      dispositions_.AddNull();
    }
    AddPrint(claim_highs_, claim_lows_, claim->fingerprint);
  }

  Column scopes_{Column::Type::kInt8}, ids_{Column::Type::kBytes}, states_{Column::Type::kInt2},
      highs_{Column::Type::kInt8}, lows_{Column::Type::kInt8}, attempts_{Column::Type::kInt4},
      first_failed_{Column::Type::kInt8}, not_before_{Column::Type::kInt8},
      incarnations_{Column::Type::kInt8}, counters_{Column::Type::kInt8},
      lease_ends_{Column::Type::kInt8}, begun_{Column::Type::kBool},
      may_have_run_{Column::Type::kBool}, dispositions_{Column::Type::kInt2},
      claim_highs_{Column::Type::kInt8}, claim_lows_{Column::Type::kInt8},
      results_{Column::Type::kBytes};
  bool is_empty_ = true;
};

bool IsSettled(IdState state) {
  return state == IdState::kCompleted || state == IdState::kDead || state == IdState::kDiscarded ||
         state == IdState::kUncertain;
}

// What most ids are in the end: completed, and never failed.
bool IsPlain(const IdRows& rows, std::string_view result) {
  const IdRecord& record = rows.record;
  return record.state == IdState::kCompleted && !rows.claim && result.empty() &&
         record.first_failed_at == absl::InfinitePast() &&
         record.not_before == absl::InfinitePast();
}

}  // namespace

std::int64_t ScopeNumber(std::string_view scope) {
  return std::bit_cast<std::int64_t>(Fingerprint::Of(scope).high);
}

absl::StatusOr<IdRows> IdRowsAt(const Result& result, int row, int column) {
  IdRows rows;
  if (result.IsNull(row, column)) return rows;
  const std::int64_t state = result.Int(row, column);
  if (state < 0 || state > static_cast<std::int64_t>(IdState::kDying)) {
    return Damaged("state", state);
  }
  rows.record = {.state = static_cast<IdState>(state),
                 .fingerprint = result.Print(row, column + 1),
                 .attempt = static_cast<int>(result.Int(row, column + 3)),
                 .first_failed_at = result.Time(row, column + 4),
                 .not_before = result.Time(row, column + 5)};
  if (result.IsNull(row, column + 9)) return rows;
  ClaimRow& claim = rows.claim.emplace();
  if (!result.IsNull(row, column + 6)) {
    claim.fence = Fence{.incarnation = result.Unsigned(row, column + 6),
                        .counter = result.Unsigned(row, column + 7)};
  }
  claim.lease_end = result.Time(row, column + 8);
  claim.is_begun = result.Int(row, column + 9) != 0;
  claim.may_have_run = result.Int(row, column + 10) != 0;
  if (!result.IsNull(row, column + 11)) {
    const std::int64_t disposition = result.Int(row, column + 11);
    if (disposition < 0 || disposition > static_cast<std::int64_t>(Disposition::kManual)) {
      return Damaged("disposition", disposition);
    }
    claim.disposition = static_cast<Disposition>(disposition);
  }
  claim.fingerprint = result.Print(row, column + 12);
  return rows;
}

Params IdTable::KeyParams(const Wanted& wanted) const {
  Column scopes(Column::Type::kInt8);
  Column ids(Column::Type::kBytes);
  for (const auto& [scope, id] : wanted) {
    scopes.Add(scope);
    ids.AddBytes(id);
  }
  Params params;
  params.Array(scopes).Array(ids);
  return params;
}

absl::Status IdTable::Read(const Wanted& wanted, bool is_locking) {
  const Statements& statements = database_.statements();
  session_.Queue(is_locking ? statements.lock_ids : statements.find_ids, KeyParams(wanted));
  session_.Queue(statements.read_clock);
  const auto results = session_.Run(database_.options().answer_timeout);
  if (!results.ok()) return results.status();
  const Result& clock = results->back();
  clock_ = database_.ClockAt(clock.Int(0, 0));
  has_letters_ = has_letters_.value_or(false) || clock.Int(0, 1) != 0;
  entries_.reserve(entries_.size() + wanted.size());
  for (const Key& key : wanted) entries_[key] = Entry{};
  const Result& found = (*results)[results->size() - 2];
  for (int row = 0; row < found.rows(); ++row) {
    absl::StatusOr<IdRows> rows = IdRowsAt(found, row, 1);
    if (!rows.ok()) return rows.status();
    Entry& entry = entries_[wanted[static_cast<std::size_t>(found.Int(row, 0) - 1)]];
    entry.rows = *std::move(rows);
    entry.result = std::string(found.Bytes(row, 15));
    entry.is_stored = true;
    has_found_settled_ = has_found_settled_ || IsSettled(entry.rows.record.state);
  }
  return absl::OkStatus();
}

IdTable::KeyView IdTable::ViewOf(const IdKey& key) {
  if (key.scope != last_scope_) {
    last_scope_ = std::string(key.scope);
    last_scope_number_ = ScopeNumber(key.scope);
  }
  return {last_scope_number_, key.id};
}

absl::Status IdTable::CheckScopes(std::span<const IdKey> keys) {
  std::map<std::int64_t, std::string_view> unknown;
  std::string_view last;
  for (const IdKey& key : keys) {
    if (!unknown.empty() && key.scope == last) continue;
    last = key.scope;
    if (!database_.IsKnownScope(key.scope)) unknown.emplace(ScopeNumber(key.scope), key.scope);
  }
  if (unknown.empty()) return absl::OkStatus();
  Column numbers(Column::Type::kInt8);
  for (const auto& [number, name] : unknown) numbers.Add(number);
  session_.Queue(database_.statements().find_scopes, std::move(Params().Array(numbers)));
  const auto results = session_.Run(database_.options().answer_timeout);
  if (!results.ok()) return results.status();
  const Result& found = results->back();
  for (int row = 0; row < found.rows(); ++row) {
    const std::string_view meant = unknown[found.Int(row, 0)];
    if (found.Bytes(row, 1) == meant) continue;
    return absl::InternalError(absl::StrCat(
        "postgres: the scopes \"", absl::CHexEscape(ToAbsl(meant)), "\" and \"",
        absl::CHexEscape(ToAbsl(found.Bytes(row, 1))), "\" have one hash; rename one of them"));
  }
  return absl::OkStatus();
}

absl::Status IdTable::Load(std::span<const IdKey> keys) {
  Wanted wanted;
  for (const IdKey& key : keys) {
    const KeyView ours = ViewOf(key);
    if (!entries_.contains(ours)) wanted.emplace_back(ours);
  }
  if (wanted.empty()) return absl::OkStatus();
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  if (absl::Status checked = CheckScopes(keys); !checked.ok()) return checked;
  if (locking_ == Locking::kHold && wanted.size() <= kHeldIdsMax) {
    // Locks are the whole database's: those of other schemas have other numbers.
    const std::uint64_t schema = Fingerprint::Of(database_.options().schema).low;
    Column hashes(Column::Type::kInt8);
    for (const auto& [scope, id] : wanted) {
      hashes.AddUnsigned(Fingerprint::Of(id).low + static_cast<std::uint64_t>(scope) + schema);
    }
    session_.Queue(database_.statements().hold_ids, std::move(Params().Array(hashes)));
  }
  absl::Status read = Read(wanted, locking_ == Locking::kAll);
  if (!read.ok() || locking_ == Locking::kAll) return read;
  std::erase_if(wanted, [&](const Key& key) {
    const Entry& entry = entries_[key];
    return !entry.is_stored || entry.rows.record.state == IdState::kCompleted;
  });
  return wanted.empty() ? absl::OkStatus() : Read(wanted, true);
}

absl::StatusOr<IdTable::Entry*> IdTable::FindEntry(const IdKey& key) {
  auto found = entries_.find(ViewOf(key));
  if (found == entries_.end()) {
    if (absl::Status loaded = Load({&key, 1}); !loaded.ok()) return loaded;
    found = entries_.find(ViewOf(key));
  }
  return &found->second;
}

absl::StatusOr<IdRows> IdTable::Find(const IdKey& key) {
  const auto entry = FindEntry(key);
  if (!entry.ok()) return entry.status();
  return (*entry)->rows;
}

absl::StatusOr<std::string> IdTable::FindResult(const IdKey& key) {
  const auto entry = FindEntry(key);
  if (!entry.ok()) return entry.status();
  return (*entry)->result;
}

IdTable::Entry& IdTable::Change(const IdKey& key) {
  Intern(key.scope);
  const auto found = entries_.find(ViewOf(key));
  if (is_marked_) changed_since_mark_.insert(found->first);
  found->second.is_changed = true;
  return found->second;
}

absl::Status IdTable::PutRecord(const IdKey& key, const IdRecord& record) {
  if (const auto entry = FindEntry(key); !entry.ok()) return entry.status();
  Change(key).rows.record = record;
  return absl::OkStatus();
}

absl::Status IdTable::PutClaim(const IdKey& key, const std::optional<ClaimRow>& claim) {
  const auto entry = FindEntry(key);
  if (!entry.ok()) return entry.status();
  const bool says_nothing = !claim || stores::SaysNothing(*claim);
  if (says_nothing && !(*entry)->rows.claim) return absl::OkStatus();
  Change(key).rows.claim = says_nothing ? std::nullopt : claim;
  return absl::OkStatus();
}

absl::Status IdTable::PutResult(const IdKey& key, std::string_view result) {
  const auto entry = FindEntry(key);
  if (!entry.ok()) return entry.status();
  if ((*entry)->result == result) return absl::OkStatus();
  Change(key).result = std::string(result);
  return absl::OkStatus();
}

std::int64_t IdTable::Intern(std::string_view scope) {
  if (!put_scopes_.contains(scope) && !new_scopes_.contains(scope) &&
      !database_.IsKnownScope(scope)) {
    new_scopes_.emplace(scope);
  }
  return ScopeNumber(scope);
}

std::vector<IdTable::Entries::value_type*> IdTable::TakeChanged() {
  std::vector<Entries::value_type*> changed;
  for (auto& entry : entries_) {
    if (std::exchange(entry.second.is_changed, false)) changed.push_back(&entry);
  }
  std::sort(changed.begin(), changed.end(),
            [](const auto* a, const auto* b) { return a->first < b->first; });
  return changed;
}

bool IdTable::Flush() {
  const Statements& statements = database_.statements();
  if (!new_scopes_.empty()) {
    Column numbers(Column::Type::kInt8);
    Column names(Column::Type::kBytes);
    for (const std::string& name : new_scopes_) {
      numbers.Add(ScopeNumber(name));
      names.AddBytes(name);
    }
    const Params params = std::move(Params().Array(numbers).Array(names));
    session_.Queue(statements.add_scopes, params);
    session_.Queue(statements.check_scopes, params);
    put_scopes_.merge(new_scopes_);
    new_scopes_.clear();
  }
  Column plain_scopes(Column::Type::kInt8);
  Column plain_ids(Column::Type::kBytes);
  Column plain_highs(Column::Type::kInt8);
  Column plain_lows(Column::Type::kInt8);
  Column plain_attempts(Column::Type::kInt4);
  bool has_plain = false;
  FullRows added;
  FullRows changed;
  Wanted forgotten;
  for (Entries::value_type* const one : TakeChanged()) {
    auto& [key, entry] = *one;
    const bool is_nothing = entry.rows.record.state == IdState::kAbsent && !entry.rows.claim;
    if (is_nothing) {
      if (entry.is_stored) forgotten.push_back(key);
    } else if (entry.is_stored) {
      changed.Add(key.first, key.second, entry.rows, entry.result);
    } else if (IsPlain(entry.rows, entry.result)) {
      plain_scopes.Add(key.first);
      plain_ids.AddBytes(key.second);
      AddPrint(plain_highs, plain_lows, entry.rows.record.fingerprint);
      AddAttempt(plain_attempts, entry.rows.record.attempt);
      has_plain = true;
    } else {
      added.Add(key.first, key.second, entry.rows, entry.result);
    }
    entry.is_stored = !is_nothing;
  }
  if (has_plain) {
    Params plain;
    plain.Array(plain_scopes).Array(plain_ids).Array(plain_highs).Array(plain_lows);
    AddAge(plain.Array(plain_attempts));
    session_.Queue(statements.add_completed_ids, std::move(plain));
  }
  for (const auto& [rows, statement] :
       {std::pair(&added, &statements.add_ids), std::pair(&changed, &statements.put_ids)}) {
    if (rows->is_empty()) continue;
    Params params = rows->Encode();
    AddAge(params);
    session_.Queue(*statement, std::move(params));
  }
  if (!forgotten.empty()) session_.Queue(statements.forget_ids, KeyParams(forgotten));
  return has_plain || !added.is_empty() || !changed.is_empty() || !forgotten.empty();
}

void IdTable::AddAge(Params& params) const {
  if (locking_ == Locking::kUnsettled) {
    params.Null();
  } else {
    params.Bool(true);
  }
}

void IdTable::Mark() {
  is_marked_ = true;
  changed_since_mark_.clear();
}

void IdTable::Undo() {
  for (const Key& key : changed_since_mark_) entries_.erase(key);
  changed_since_mark_.clear();
  new_scopes_.clear();
  put_scopes_.clear();
}

void IdTable::NoteCommitted() { database_.NoteScopes({put_scopes_.begin(), put_scopes_.end()}); }

}  // namespace once::postgres
