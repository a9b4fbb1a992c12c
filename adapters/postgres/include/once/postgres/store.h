// A deduplication store in a PostgreSQL database: ids, positions, dead letters and your own tables,
// in one database and one transaction. Any number of processes share it.
//
//   auto store = once::postgres::OpenStore({.connection = "postgresql://billing@db/billing"});
//   … [](const once::Message& message, once::Transaction& transaction) {
//       once::postgres::Connection connection(transaction);
//       return connection.Execute("INSERT INTO payments(id, body) VALUES($1, $2)",
//                                 {message.id(), once::postgres::Bytes{body}}).status();
//     }
//
// The store's own tables lie in a schema of their own, their layout is its own business.
// adapters/postgres/README.md has the guarantees, limits, and what a server must be set to.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"
#include "once/postgres/connection.h"

namespace once::postgres {

struct StoreOptions {
  // As libpq takes it: "host=db dbname=billing user=billing" or "postgresql://…". Several hosts may
  // be named: the one that can be written is used. Without an sslmode the server's certificate and
  // name are verified (verify-full), except by a unix socket or to this machine itself.
  std::string connection;
  // The store's tables are in this schema, which is created when it does not exist: small letters,
  // digits and underscores.
  std::string schema = "once";
  // kNotFound instead of a new schema. Set it once the store is in service.
  bool must_exist = false;
  // False: kFailedPrecondition instead of a store of an earlier format that is brought to ours,
  // after which processes of that version cannot open it any more. For tools beside consumers.
  bool may_migrate = true;
  // How long a call waits for a row or an id that another transaction holds, or for a free
  // connection; then kUnavailable. Below a second.
  absl::Duration lock_timeout = absl::Milliseconds(800);
  // How long a handler's statement, or what it publishes, waits for a lock; then kUnavailable.
  // Longer than the server's deadlock_timeout (a second by default), or deadlocks between handlers
  // are not found: all of them would give up instead of one.
  absl::Duration handler_lock_timeout = absl::Seconds(5);
  // For one attempt to connect to each host, in whole seconds. While the server is away, calls fail
  // at once between attempts.
  absl::Duration connect_timeout = absl::Seconds(10);
  // A server that does not answer the store for so long is taken for lost.
  absl::Duration answer_timeout = absl::Seconds(30);
  // The server gives up a handler's statement that takes so long.
  absl::Duration statement_timeout = absl::Minutes(5);
  // The server ends a transaction in which nothing was asked for so long: longer than any handler
  // takes between two statements. What ends a process that hangs when nobody else misses its rows.
  absl::Duration idle_in_transaction_timeout = absl::Minutes(10);
  // Whoever takes over partitions whose rows another process holds in a transaction that has asked
  // nothing for so long ends that process' session; infinite: nobody's. Longer than any handler
  // takes between two statements, or work in progress is undone and done again.
  absl::Duration hung_after = absl::Seconds(30);
  // How long ids are remembered after they were settled, in log time: they are forgotten, a bucket
  // at a time, once every partition of every group that uses the store has applied messages so much
  // newer. Failures, dead letters and claims are kept until they are settled; ids that plain
  // handlers, Wrap and operators settle are kept for ever, since nothing says how far the log has
  // come. Takes one connection more. All processes of a store should say the same: where one says
  // less, that counts.
  absl::Duration retention = absl::InfiniteDuration();
  // Transactions, claims, operators and the relay each need one while they are at work.
  int connections_max = 8;
  // Added to the server's clock, by which leases and retry delays are measured (claims.h). For
  // tests; null: nothing.
  std::function<absl::Duration()> clock_skew = nullptr;
};

// kInvalidArgument: options; kNotFound: no such database, or no schema and must_exist;
// kPermissionDenied: the login or its rights do not suffice; kFailedPrecondition: of a newer
// format, or of an earlier one that may not be migrated, not a schema of ours, or the server is too
// old; kUnavailable: the server cannot be reached. Every message names the server, never the
// password, and the way out.
// Thread-safety: as DedupStore says. Do not use the store in a forked child.
absl::StatusOr<std::shared_ptr<DedupStore>> OpenStore(StoreOptions options);

struct Statistics {
  std::int64_t buckets = 0;  // of ids: one that is looked for is looked for in each
  // Why this process does not look after the buckets at the moment; empty: it does, or another one
  // does, or the store has no retention.
  std::string upkeep_error;
  // Of every process that is alive: the name of its sessions, and what it says.
  std::vector<std::string> upkeep_errors;
};

// kInvalidArgument: the store is not PostgreSQL's; otherwise as any call to it.
absl::StatusOr<Statistics> ReadStatistics(DedupStore& store);

}  // namespace once::postgres
