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

class OutboxBook {
 public:
  virtual ~OutboxBook() = default;
  virtual std::string_view name() const = 0;
  // `busy_timeout`: how long a writer waits for another one.
  virtual absl::StatusOr<std::shared_ptr<DedupStore>> Open(const std::string& path,
                                                           absl::Duration busy_timeout) const = 0;
  // Books a row as its key's next one, whose number is the answer: commits of one key are in the
  // order of their numbers.
  virtual absl::StatusOr<std::int64_t> Put(Transaction& transaction, const std::string& key,
                                           const std::string& name) const = 0;
  // Everything that is committed. REQUIRES: nobody has the store open.
  virtual std::vector<SentMessage> Read(const std::string& path) const = 0;
};

// "sqlite", "rocksdb". Throws for other names.
const OutboxBook& OutboxBookOf(std::string_view name);

}  // namespace once::campaign
