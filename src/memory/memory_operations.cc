// Operations in memory: each change is one turn at the contents, checked against what it finds.
#include "src/memory/memory_operations.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/stores/notes.h"

namespace once::memory {
namespace {

// Of a letter's message; absent where the letter names no id.
IdRecord RecordOf(const Contents& contents, const OutboxRow& letter, absl::Time now) {
  if (letter.id.empty()) return {};
  return contents.ids.Find({.scope = letter.scope, .id = letter.id}, now);
}

absl::Status CheckState(std::string_view operation, IdState state,
                        std::initializer_list<IdState> permitted) {
  if (std::find(permitted.begin(), permitted.end(), state) != permitted.end()) {
    return absl::OkStatus();
  }
  std::string wanted;
  for (const IdState one : permitted) {
    absl::StrAppend(&wanted, wanted.empty() ? "" : " or ", ToAbsl(ToString(one)));
  }
  return absl::FailedPreconditionError(absl::StrCat("memory: ", ToAbsl(operation), ": the id is ",
                                                    ToAbsl(ToString(state)), ", not ", wanted));
}

absl::Status NoLetter(std::string_view operation, std::int64_t number) {
  return absl::NotFoundError(absl::StrCat("memory: ", ToAbsl(operation), ": no letter ", number,
                                          " is kept; it may have given way to a newer one"));
}

// The record of `key`, which must exist.
absl::StatusOr<IdRecord> Require(const Contents& contents, const IdKey& key,
                                 std::string_view operation, absl::Time now) {
  IdRecord record = contents.ids.Find(key, now);
  if (record.state != IdState::kAbsent) return record;
  return absl::NotFoundError(
      absl::StrCat("memory: ", ToAbsl(operation), ": the id is not known under this scope"));
}

bool IsWanted(const FailureQuery& query, const StoredFailure& failure) {
  if (failure.number <= query.after) return false;
  if (query.id && *query.id != failure.id) return false;
  if (query.scope && *query.scope != failure.scope) return false;
  return failure.state != IdState::kCompleted && failure.state != IdState::kDiscarded;
}

StoredFailure Describe(const Contents& contents, std::int64_t number, absl::Time now) {
  const OutboxTable::Row& kept = *contents.outbox.FindLetter(number);
  StoredFailure failure;
  failure.number = number;
  failure.origin = kept.row.origin;
  failure.scope = kept.row.scope;
  failure.id = kept.row.id;
  failure.state = RecordOf(contents, kept.row, now).state;
  failure.is_published = kept.is_published;
  failure.parked_reason = kept.parked_reason;
  if (!failure.id.empty()) {
    failure.redrives = contents.outbox.CountRedrives({.scope = kept.row.scope, .id = kept.row.id});
  }
  failure.letter = kept.row.message;
  return failure;
}

}  // namespace

absl::StatusOr<std::vector<StoredPosition>> MemoryOperations::ListPositions() {
  return data_->Access([](const Contents& contents) { return contents.positions.List(); });
}

absl::Status MemoryOperations::OrderPosition(const PositionOrder& order) {
  if (order.directive == PositionDirective::kNone) {
    return absl::InvalidArgumentError("memory: order a position: it orders nothing");
  }
  if (order.directive == PositionDirective::kSet && order.position < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("memory: order a position: ", order.position, " is below zero"));
  }
  return data_->Change("order a position", [&](Contents& contents, absl::Time) {
    contents.positions.Order(order);
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<StoredFailure>> MemoryOperations::FindFailures(
    const FailureQuery& query) {
  const absl::Time now = data_->Now();
  return data_->Access([&](const Contents& contents) {
    std::vector<StoredFailure> failures;
    for (const std::int64_t number : contents.outbox.LetterNumbers()) {
      if (failures.size() >= query.letters_max) break;
      StoredFailure failure = Describe(contents, number, now);
      if (IsWanted(query, failure)) failures.push_back(std::move(failure));
    }
    return failures;
  });
}

absl::StatusOr<std::vector<StoreOperations::FoundId>> MemoryOperations::FindId(
    const std::string& id) {
  const absl::Time now = data_->Now();
  return data_->Access(
      [&](const Contents& contents) { return contents.ids.FindInEveryScope(id, now); });
}

absl::Status MemoryOperations::Redrive(const RedriveRequest& request) {
  return data_->Change("redrive", [&](Contents& contents, absl::Time now) {
    const OutboxTable::Row* letter = contents.outbox.FindLetter(request.number);
    if (letter == nullptr) return NoLetter("redrive", request.number);
    const IdRecord former = RecordOf(contents, letter->row, now);
    absl::Status permitted =
        CheckState("redrive", former.state, {IdState::kDead, IdState::kUncertain});
    if (!permitted.ok()) return permitted;
    const IdKey key{.scope = letter->row.scope, .id = letter->row.id};
    contents.ids.Put(key, {.state = IdState::kRetrying, .fingerprint = former.fingerprint});
    contents.outbox.AppendRedrive(request.number, request.row);
    return absl::OkStatus();
  });
}

absl::Status MemoryOperations::Discard(const IdKey& key) {
  return data_->Change("discard", [&](Contents& contents, absl::Time now) {
    const auto former = Require(contents, key, "discard", now);
    if (!former.ok()) return former.status();
    absl::Status permitted =
        CheckState("discard", former->state,
                   {IdState::kDead, IdState::kUncertain, IdState::kRetrying, IdState::kDying});
    if (!permitted.ok()) return permitted;
    contents.ids.Put(key, {.state = IdState::kDiscarded,
                           .fingerprint = former->fingerprint,
                           .attempt = former->attempt,
                           .first_failed_at = former->first_failed_at});
    if (const auto letter = contents.outbox.FindLetterOf(key)) contents.outbox.DropLetter(*letter);
    return absl::OkStatus();
  });
}

absl::Status MemoryOperations::Resolve(const IdKey& key) {
  return data_->Change("resolve", [&](Contents& contents, absl::Time now) {
    const auto former = Require(contents, key, "resolve", now);
    if (!former.ok()) return former.status();
    absl::Status permitted = CheckState("resolve", former->state, {IdState::kUncertain});
    if (!permitted.ok()) return permitted;
    contents.ids.Put(key, {.state = IdState::kCompleted,
                           .fingerprint = former->fingerprint,
                           .attempt = former->attempt,
                           .first_failed_at = former->first_failed_at});
    if (const auto letter = contents.outbox.FindLetterOf(key)) contents.outbox.DropLetter(*letter);
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<StoredNote>> MemoryOperations::ListNotes(const NoteQuery& query) {
  return data_->Access([&](const Contents& contents) {
    const stores::NoteStart start = stores::StartOf(query);
    auto note = start.is_behind ? contents.notes.upper_bound(start.key)
                                : contents.notes.lower_bound(start.key);
    std::vector<StoredNote> notes;
    for (; note != contents.notes.end() && notes.size() < query.notes_max; ++note) {
      if (!note->first.starts_with(query.prefix)) break;
      notes.push_back({.key = note->first, .value = note->second});
    }
    return notes;
  });
}

absl::Status MemoryOperations::DropLetter(std::int64_t number) {
  return data_->Change("drop a letter", [&](Contents& contents, absl::Time now) {
    const OutboxTable::Row* letter = contents.outbox.FindLetter(number);
    if (letter == nullptr) return NoLetter("drop a letter", number);
    const IdState state = RecordOf(contents, letter->row, now).state;
    if (state != IdState::kAbsent) {
      return absl::FailedPreconditionError(absl::StrCat("memory: drop a letter: its id is ",
                                                        ToAbsl(ToString(state)),
                                                        "; discard the id instead"));
    }
    contents.outbox.DropLetter(number);
    return absl::OkStatus();
  });
}

}  // namespace once::memory
