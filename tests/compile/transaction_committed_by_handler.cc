// A handler cannot end its transaction: what it gets has no Commit.
// EXPECT: has no member named
#include "once/transaction.h"

absl::Status Handle(once::Transaction& transaction) {
#ifdef ONCE_COMPILE_CONTROL
  (void)transaction;
  return absl::OkStatus();
#else
  return transaction.Commit(Durability::kMachine);
#endif
}
