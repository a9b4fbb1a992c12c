// Transact runs a function in one transaction of a store, without any consumer: its writes and the
// messages it publishes (Transaction::Publish) become visible together, or not at all.
//
//   const absl::Status booked = once::Transact(*store, [&](once::Transaction& transaction) {
//     sqlite3* db = once::sqlite::Connection(transaction);
//     … INSERT INTO orders …
//     return transaction.Publish({.topic = "orders", .key = order.id, .value = order.json});
//   });
//
// What it is not: it knows no ids, so a call that is repeated takes effect again (wrap.h).
// Thread-safety: safe for concurrent use; an embedded store runs one transaction at a time.
#pragma once

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "once/dedup_store.h"
#include "once/transaction.h"

namespace once {

// OK: committed, as durable as the store says. kUnknown: the body succeeded, and the commit may
// have happened or may still happen. Any other error: rolled back; that of the body as it is, or
//   kInternal            the body threw
//   kUnavailable         another transaction was open for too long; nothing ran
//   kFailedPrecondition  the body ended the transaction by itself
//   kUnimplemented       the store has no transactions
// The body runs at most once.
absl::Status Transact(DedupStore& store, absl::FunctionRef<absl::Status(Transaction&)> body);

}  // namespace once
