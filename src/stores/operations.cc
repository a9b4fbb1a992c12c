// Checks, then writes.
#include "src/stores/operations.h"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/stores/position_rules.h"
#include "src/test_hooks.h"

namespace once::stores {
namespace {

std::string Describe(const RowTransactions& store, std::string_view operation,
                     std::string_view id) {
  return absl::StrCat(ToAbsl(store.store_name()), ": ", ToAbsl(operation), " \"",
                      absl::CHexEscape(ToAbsl(id)), "\": ");
}

absl::Status CheckState(const std::string& what, IdState state,
                        std::initializer_list<IdState> permitted) {
  if (std::find(permitted.begin(), permitted.end(), state) != permitted.end()) {
    return absl::OkStatus();
  }
  std::string wanted;
  for (const IdState one : permitted) {
    absl::StrAppend(&wanted, wanted.empty() ? "" : " or ", ToAbsl(ToString(one)));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(what, "the id is ", ToAbsl(ToString(state)), ", not ", wanted));
}

absl::Status NoLetter(const RowTransactions& store, std::string_view operation,
                      std::int64_t number) {
  return absl::NotFoundError(absl::StrCat(ToAbsl(store.store_name()), ": ", ToAbsl(operation),
                                          " letter ", number,
                                          ": no such letter is kept; it may have given way to a "
                                          "newer one of its id"));
}

// The id's rows with `record` in them; whoever held it before holds it no more.
absl::Status Overwrite(Rows& rows, const IdKey& key, const IdRows& former, const IdRecord& record) {
  if (absl::Status put = rows.PutRecord(key, record); !put.ok()) return put;
  if (!former.claim) return absl::OkStatus();
  return rows.PutClaim(key, AfterWriting(*former.claim, record));
}

// An operator's word on one id: from one of the `permitted` states to `state`, and no letter is
// kept any longer.
absl::Status Settle(RowTransactions& store, std::string_view operation, const IdKey& key,
                    IdState state, std::initializer_list<IdState> permitted) {
  return store.Write(operation, Durability::kMachine, [&](Rows& rows) -> absl::Status {
    const absl::StatusOr<IdRows> found = rows.Find(key);
    if (!found.ok()) return found.status();
    const std::string what = Describe(store, operation, key.id);
    IdRecord record = VisibleRecord(*found, rows.clock());
    if (record.state == IdState::kAbsent) {
      return absl::NotFoundError(absl::StrCat(what, "the id is not known under this scope"));
    }
    if (absl::Status check = CheckState(what, record.state, permitted); !check.ok()) return check;
    record.state = state;
    record.not_before = absl::InfinitePast();
    if (absl::Status put = Overwrite(rows, key, *found, record); !put.ok()) return put;
    return rows.VoidLetters(key);
  });
}

}  // namespace

absl::Status RowOperations::OrderPosition(const PositionOrder& order) {
  if (absl::Status check = CheckOrder(transactions_.store_name(), order); !check.ok()) return check;
  return transactions_.Write("order position", Durability::kMachine,
                             [&](Rows& rows) -> absl::Status {
                               const auto found = rows.FindPosition(order.key);
                               if (!found.ok()) return found.status();
                               return rows.PutPosition(AfterOrder(order, *found));
                             });
}

absl::Status RowOperations::Redrive(const RedriveRequest& request) {
  return transactions_.Write("redrive", Durability::kMachine, [&](Rows& rows) -> absl::Status {
    const auto letter = rows.FindLetter(request.number);
    if (!letter.ok()) return letter.status();
    if (!*letter) return NoLetter(transactions_, "redrive", request.number);
    const StoredFailure& failure = (*letter)->failure;
    const IdKey key{.scope = failure.scope, .id = failure.id};
    absl::Status check = CheckState(Describe(transactions_, "redrive", failure.id), failure.state,
                                    {IdState::kDead, IdState::kUncertain});
    if (!check.ok()) return check;
    const IdRows& former = (*letter)->rows;
    absl::Status put = Overwrite(
        rows, key, former, {.state = IdState::kRetrying, .fingerprint = former.record.fingerprint});
    if (!put.ok()) return put;
    const absl::StatusOr<std::int32_t> ordinal = rows.NextRedrive(key);
    if (!ordinal.ok()) return ordinal.status();
    OutboxRow row = request.row;
    row.origin = failure.origin;
    row.scope = failure.scope;
    row.id = failure.id;
    // Taken is an ordinal only where the same delivery had another scope once.
    absl::StatusOr<bool> is_new = false;
    for (row.origin.ordinal = *ordinal; is_new.ok() && !*is_new; --row.origin.ordinal) {
      is_new = rows.PutOutboxRow(row);
    }
    ONCE_KILL_POINT("redrive.written");
    return is_new.status();
  });
}

absl::Status RowOperations::Discard(const IdKey& key) {
  return Settle(transactions_, "discard", key, IdState::kDiscarded,
                {IdState::kDead, IdState::kUncertain, IdState::kRetrying, IdState::kDying});
}

absl::Status RowOperations::Resolve(const IdKey& key) {
  return Settle(transactions_, "resolve", key, IdState::kCompleted, {IdState::kUncertain});
}

absl::Status RowOperations::DropLetter(std::int64_t number) {
  return transactions_.Write("drop letter", Durability::kMachine, [&](Rows& rows) -> absl::Status {
    const auto letter = rows.FindLetter(number);
    if (!letter.ok()) return letter.status();
    if (!*letter) return NoLetter(transactions_, "drop", number);
    const IdState state = (*letter)->failure.state;
    if (state != IdState::kAbsent) {
      return absl::FailedPreconditionError(
          absl::StrCat(Describe(transactions_, "drop the letter of", (*letter)->failure.id),
                       "the id is ", ToAbsl(ToString(state)), "; discard the id instead"));
    }
    return rows.DropLetter(number);
  });
}

}  // namespace once::stores
