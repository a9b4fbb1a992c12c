// A deduplication store in a RocksDB folder: ids, positions, dead letters and your own tables, in
// one write-ahead log and one transaction.
//
//   auto store = once::rocksdb::OpenStore({.path = "billing.rocksdb", .tables = {"payments"}});
//   … [](const once::Message& message, once::Transaction& transaction) {
//       auto payments = once::rocksdb::TableOf(transaction, "payments");
//       if (!payments.ok()) return payments.status();
//       return payments->Put(message.id(), message.value().value_or(""));
//     }
//
// adapters/rocksdb/README.md has the guarantees, limits, and what to do when something is wrong
// with the folder. Not a server: one process at a time has the store open.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"

namespace once::rocksdb {

struct StoreOptions {
  // A folder of its own, created when it does not exist; the folder around it must. Next to it
  // appears <path>.once-lock, which keeps other processes out and remembers that there was a store
  // here.
  std::string path;
  // Your own tables, each a column family; created when they do not exist. Names that begin with
  // once_ are the store's.
  std::vector<std::string> tables = {};
  // False: a power failure may undo the last commits, and the guarantee says so. For tests.
  bool is_synced = true;
  // How long every call that writes waits for whoever else is writing; then kUnavailable.
  absl::Duration busy_timeout = absl::Seconds(5);
  // kNotFound instead of a new folder. Set it once the store is in service.
  bool must_exist = false;
  // Reads all files at opening and compares their checksums; corruption shows when a damaged block
  // is met otherwise.
  bool integrity_check = false;
  // How long ids are remembered after they were settled, in log time: they are forgotten, whole
  // files at a time, once every partition of every group that uses the store has applied messages
  // so much newer. Failures, dead letters and claims are kept until they are settled; ids that
  // plain handlers settle are kept for ever, since nothing says how far the log has come.
  absl::Duration retention = absl::InfiniteDuration();
  // What the most recent ids may take in memory, about 43 bytes for one of 16 with a fingerprint.
  // Older ones cost 2 bytes each, and a read of a file when one of them is seen again.
  std::int64_t recent_ids_bytes = 256 * 1024 * 1024;
  // Blocks of the files, their indexes and filters kept in memory.
  std::int64_t cache_bytes = 64 * 1024 * 1024;
  // What was written and lies in no file but the log yet. At most about so much is held in memory
  // beside the cache; more makes fewer and larger files.
  std::int64_t write_buffer_bytes = 64 * 1024 * 1024;
  // Beyond so much log, what keeps its oldest part is written to files. Bounds the time an opening
  // takes after a crash.
  std::int64_t wal_bytes_max = 256 * 1024 * 1024;
  // What one transaction may write; more is refused with kOutOfRange, and the consumer tries with
  // fewer messages.
  std::int64_t transaction_bytes_max = 512 * 1024 * 1024;
  // For flushing and compacting. RocksDB shares them among all of a process's databases, and the
  // largest wish counts.
  int background_threads = 2;
  // Lets the `once` command reach the store while it is open, by a socket at <path>.once-socket
  // that serves the same user only. False: where the file system has no sockets, or nobody shall.
  bool serve_operators = true;
  // The clock of leases and retry delays (claims.h). Null: the system's. Only how soon another may
  // take over depends on it, never who is right.
  std::function<absl::Time()> now = nullptr;
};

// kInvalidArgument: options; kNotFound: no folder around it, or nothing there and must_exist;
// kPermissionDenied: not writable; kFailedPrecondition: open elsewhere, of a newer format, not a
// store of ours; kDataLoss: corrupted, or gone although it had data; kUnavailable: the system
// failed to read or write; kResourceExhausted: no space. Every message names the path and the way
// out.
// Thread-safety: as DedupStore says. Do not use the store in a forked child.
absl::StatusOr<std::shared_ptr<DedupStore>> OpenStore(StoreOptions options);

// One of the tables named in StoreOptions, inside a transaction: sees the transaction's own writes,
// and what it writes becomes visible with the message's id and position, or not at all. Keys are in
// the order of unsigned bytes. Valid until the handler returns; every call fails with
// kFailedPrecondition after that. A handler that gets an error must return it.
// Thread-safety: that of the transaction.
class Table {
 public:
  // nullopt: there is no such key.
  absl::StatusOr<std::optional<std::string>> Get(std::string_view key) const;
  absl::Status Put(std::string_view key, std::string_view value);
  absl::Status Delete(std::string_view key);  // OK also when there is none

  // Calls `visit` for every key from `first` to before `end` (empty: to the last one), in order,
  // until it returns false. It must not write.
  using Visitor = absl::FunctionRef<bool(std::string_view key, std::string_view value)>;
  absl::Status ForEach(std::string_view first, std::string_view end, Visitor visit) const;

 private:
  friend absl::StatusOr<Table> TableOf(Transaction& transaction, std::string_view name);
  class Access;  // the transaction's side, which knows when it is over
  Table(std::shared_ptr<Access> access, std::size_t family)
      : access_(std::move(access)), family_(family) {}
  friend class RocksTransaction;

  std::shared_ptr<Access> access_;
  std::size_t family_ = 0;
};

// kInvalidArgument: the transaction is not RocksDB's; kNotFound: StoreOptions names no such table;
// kFailedPrecondition: the transaction is over.
absl::StatusOr<Table> TableOf(Transaction& transaction, std::string_view name);

// The same for whoever only reads: what is committed at this moment, beside any transaction.
// `visit` must not call the store.
// kInvalidArgument: the store is not RocksDB's; kNotFound: it has no such table.
absl::Status ForEachCommitted(DedupStore& store, std::string_view table, Table::Visitor visit);

// What the store's files and memory hold; of files by RocksDB's own estimate.
struct Statistics {
  std::uint64_t ids_estimate = 0;        // one that completed again may be counted again
  std::uint64_t recent_ids = 0;          // in memory …
  std::uint64_t recent_ids_bytes = 0;    // … and what they take
  std::uint64_t open_ids = 0;            // in memory: retrying, dead, claimed and so on
  std::uint64_t unsealed_bytes = 0;      // of ids that the next opening reads
  std::uint64_t runs = 0;                // sorted files of older ids
  std::uint64_t run_memory_bytes = 0;    // their filters and indexes
  std::string upkeep_error;              // why ids are not sealed at the moment; empty: they are
  std::uint64_t file_bytes = 0;          // of live files, without the log
  std::uint64_t log_bytes = 0;           // of the write-ahead log
  std::uint64_t write_buffer_bytes = 0;  // in memory, not in files yet
  std::uint64_t cache_bytes = 0;         // of the block cache in use
  std::uint64_t reopenings = 0;          // after a write that failed, since OpenStore()
};

// kInvalidArgument: the store is not RocksDB's; kUnavailable: it cannot be read at this moment.
absl::StatusOr<Statistics> ReadStatistics(DedupStore& store);

}  // namespace once::rocksdb
