// PublishIn sends messages with a transaction that is not the store's: one that your program has
// begun on a connection of its own, in whatever way it does that. The messages become visible when
// it commits, and an OutboxRelay of a store on the same schema publishes them (outbox_relay.h).
//
//   PQexec(connection, "BEGIN");
//   … INSERT INTO orders …
//   const absl::Status said = once::postgres::PublishIn(
//       connection, {.topic = "orders", .key = order.id, .value = order.json});
//   PQexec(connection, said.ok() ? "COMMIT" : "ROLLBACK");
//
// It costs the transaction one insert. Messages of one topic and key are published in the order of
// the commits: a lock on the key, which is held until the transaction ends, makes another one that
// publishes for it wait. So publish last, and for several keys in one call, which locks them in one
// order; two transactions that lock keys in different orders may end in a deadlock, which the
// server breaks. Keys share 1 024 locks.
//
// The role needs USAGE of the schema, INSERT on its table outgoing, and USAGE of its sequences.
// Thread-safety: that of the connection.
#pragma once

#include <span>
#include <string>

#include "absl/status/status.h"
#include "once/publisher.h"

struct pg_conn;
using PGconn = struct pg_conn;  // as libpq-fe.h says

namespace once::postgres {

struct PublishInOptions {
  std::string schema = "once";  // StoreOptions::schema
  // False: no lock is taken, and nobody waits. For callers who order transactions of one key
  // themselves before they publish, by a lock on the row that the key names, say. Two that run side
  // by side without one are published in either order.
  bool locks_keys = true;
};

// OK: they are part of the transaction. After any other error but the first two the transaction
// takes no other statement, as after any statement that fails; roll it back.
//   kInvalidArgument     ValidateOutgoing() says why, or the schema's name is none
//   kFailedPrecondition  no transaction is open on the connection, it has failed, or the connection
//                        is in pipeline mode or does not wait; or the schema has no store of this
//                        version's format: open it once with OpenStore()
//   kUnavailable         another transaction holds a key for longer than the connection's
//                        lock_timeout, or the connection is lost
//   kAborted             a deadlock
//   kPermissionDenied    a right is missing
// REQUIRES: `connection` is not null.
absl::Status PublishIn(PGconn* connection, std::span<const OutgoingMessage> messages,
                       const PublishInOptions& options = {});
absl::Status PublishIn(PGconn* connection, const OutgoingMessage& message,
                       const PublishInOptions& options = {});

}  // namespace once::postgres
