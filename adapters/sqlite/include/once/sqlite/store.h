// A deduplication store in an SQLite file: ids, positions, dead letters and your own tables, in one
// file and one transaction.
//
//   auto store = once::sqlite::OpenStore({.path = "billing.db"});
//   … [](const once::Message& message, once::Transaction& transaction) {
//       sqlite3* connection = once::sqlite::Connection(transaction);
//       … prepare, bind, step; on failure return a status …
//     }
//
// The store's own tables are named once_*, their layout is its own business.
// adapters/sqlite/README.md has the guarantees, limits, and what to do when something is wrong with
// the file. Not a server: one process at a time has the store open.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"

struct sqlite3;

namespace once::sqlite {

// SQLite's pragma of that name, in WAL mode. Anything below kFull lowers the guarantee.
enum class Synchronous : std::uint8_t {
  kOff,     // nothing is synced: a power failure may corrupt the file. For tests
  kNormal,  // commits survive a crash of the process; a power failure may undo the last ones
  kFull,    // commits are synced, before they return or before anything is acknowledged
};

struct StoreOptions {
  // Created when it does not exist; its folder must. Next to it appear <path>-wal and <path>-shm,
  // which are part of the data, and <path>.once-lock, which keeps other processes out and remembers
  // that there was a store here.
  std::string path;
  Synchronous synchronous = Synchronous::kFull;
  // How long every call that writes waits for whoever else is writing; then kUnavailable.
  absl::Duration busy_timeout = absl::Seconds(5);
  // kNotFound instead of a new file. Set it once the store is in service.
  bool must_exist = false;
  // Reads the whole file at opening and refuses a corrupted one; for a million ids that takes a
  // fraction of a second once the file is cached. Otherwise corruption shows when a damaged page is
  // met. README.md says what no check finds.
  bool integrity_check = false;
  // Pages kept in memory, those of your tables above all.
  std::int64_t cache_bytes = 32 * 1024 * 1024;
  // How long ids are remembered after they were settled, in log time: they are forgotten, whole
  // runs at a time, once every partition of every group that uses the store has applied messages
  // so much newer. Failures, dead letters and claims are kept until they are settled; ids that
  // plain handlers settle are kept for ever, since nothing says how far the log has come.
  absl::Duration retention = absl::InfiniteDuration();
  // What the most recent ids may take in memory, about 43 bytes for one of 16 with a fingerprint.
  // Older ones cost filter_bits each, and a read of the file when one of them is seen again.
  std::int64_t recent_ids_bytes = 256 * 1024 * 1024;
  // Sorted runs of older ids. Fewer make look-ups of old ids cheaper and merging dearer.
  int runs_max = 8;
  // What the filters of these runs take in memory for each id. With 16 about one look-up of an
  // unknown id in 1000 reads the file in vain; fewer make it more.
  int filter_bits = 16;
  // Lets the `once` command reach the store while it is open, by a socket at <path>.once-socket
  // that serves the same user only. False: where the file system has no sockets, or nobody shall.
  bool serve_operators = true;
  // The clock of leases and retry delays (claims.h). Null: the system's. Only how soon another may
  // take over depends on it, never who is right.
  std::function<absl::Time()> now;
  // Called once with the store's own connection, outside any transaction: create your tables,
  // register functions, set `PRAGMA foreign_keys`. Later nothing may change the connection.
  std::function<absl::Status(sqlite3*)> setup;
};

// kInvalidArgument: options; kNotFound: no folder, or no file and must_exist; kPermissionDenied:
// not writable; kFailedPrecondition: open elsewhere, of a newer format, not a store of ours;
// kDataLoss: corrupted, or gone although it had data; kUnavailable: locked for too long, or the
// system failed to read or write; kResourceExhausted: no space. Every message names the path and
// the way out.
// Thread-safety: as DedupStore says. Do not use the store in a forked child.
absl::StatusOr<std::shared_ptr<DedupStore>> OpenStore(StoreOptions options);

// The connection whose open transaction is `transaction`; null when that is not SQLite's, or is
// over. Valid until the handler returns, on its thread. The handler reads and writes its own
// tables; what would end the transaction or touch the store's tables is refused with SQLITE_AUTH
// (README.md). Prepared statements may be kept from one invocation to the next; finalise them
// before the store is closed.
sqlite3* Connection(Transaction& transaction);

}  // namespace once::sqlite
