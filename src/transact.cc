// One transaction, one call.
#include "once/transact.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/invoke_handler.h"
#include "src/test_hooks.h"

namespace once {

absl::Status Transact(DedupStore& store, absl::FunctionRef<absl::Status(Transaction&)> body) {
  TransactionalStore* const transactions = store.transactions();
  if (transactions == nullptr) {
    return absl::UnimplementedError(
        absl::StrCat("transact: ", store.traits().name,
                     " has no transactions; use SQLite, RocksDB or PostgreSQL"));
  }
  absl::StatusOr<BeginResult> begun = transactions->Begin({});
  if (!begun.ok()) return begun.status();
  const std::unique_ptr<StoreTransaction> transaction = std::move(begun->transaction);
  if (transaction == nullptr) {
    return absl::InternalError(
        "transact: the store opened no transaction, though it locks nothing");
  }
  absl::Status ran;
  const absl::Status threw =
      CatchExceptions("the body of a transaction", [&] { ran = body(*transaction); });
  ran.Update(threw);
  if (ran.ok()) ran = transaction->CheckOpen();
  if (!ran.ok()) {
    transaction->Rollback();
    return ran;
  }
  ONCE_KILL_POINT("transact.before_commit");
  const absl::Status committed = transaction->Commit(Durability::kMachine);
  ONCE_KILL_POINT("transact.committed");
  return committed;
}

}  // namespace once
