// An OutboxWriter commits rows in transactions that are none of the store's. Thread-safety: none.
//
// An OutboxBook is a store in which whoever publishes keeps books in the same transaction: which
// rows there are, and what number a key has come to. What is in the book is committed; it is read
// apart from the product's own log.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"
#include "once/transaction.h"
#include "tests/campaign/sent_judge.h"

namespace once::campaign {

struct OutboxWrite {
  std::vector<SentMessage> rows;
  absl::Duration hold;     // how long the transaction stays open behind its last statement
  bool is_undone = false;  // it is rolled back
};

class OutboxWriter {
 public:
  virtual ~OutboxWriter() = default;
  // Books the rows and publishes them. kCancelled: it is rolled back, as it was to be; kAborted,
  // kUnavailable, kUnknown: as any transaction.
  virtual absl::Status Write(const OutboxWrite& write) = 0;
};

class OutboxBook {
 public:
  virtual ~OutboxBook() = default;
  virtual std::string_view name() const = 0;
  // `busy_timeout`: how long a writer waits for another one.
  virtual absl::StatusOr<std::shared_ptr<DedupStore>> Open(const std::string& path,
                                                           absl::Duration busy_timeout) const = 0;
  // Books a row as its key's next one: commits of one key are in the order of their numbers. The
  // answer is that number, or 0 where nobody knows it before the commit.
  virtual absl::StatusOr<std::int64_t> Put(Transaction& transaction, const std::string& key,
                                           const std::string& name) const = 0;
  // Null: there are no transactions but the store's.
  virtual std::unique_ptr<OutboxWriter> NewWriter(const std::string& /*path*/,
                                                  const std::string& /*topic*/) const {
    return nullptr;
  }
  // Everything that is committed, with its numbers. REQUIRES: nobody has the store open.
  virtual std::vector<SentMessage> Read(const std::string& path) const = 0;
};

// "sqlite", "rocksdb", "postgres". Throws for other names.
const OutboxBook& OutboxBookOf(std::string_view name);

// Paths are those of MakePostgresPlace(). Numbers are drawn by a trigger inside the commit: no lock
// but the product's own orders transactions of one key.
const OutboxBook& PostgresOutboxBook();
void MakePostgresBook(const std::string& path);

}  // namespace once::campaign
