// The in-memory store: the reference the others are compared with, and good for tests and for
// handlers whose effects may be forgotten together with the ids. It forgets everything when the
// process ends, and the guarantee says so.
//
//   auto store = once::memory::OpenStore();
//   … [](const once::Message& message, once::Transaction& transaction) {
//       once::memory::Records(transaction)->Append("booked", message.id());
//       return absl::OkStatus();
//     }
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "once/dedup_store.h"

namespace once::memory {

// A transactional, append-only list of strings per table: effects for tests. Rows are not unique,
// so a duplicate effect shows.
class RecordWriter {
 public:
  virtual ~RecordWriter() = default;
  virtual void Append(std::string_view table, std::string_view row) = 0;
};

// The writer of the transaction at hand, valid until the handler returns; null when `transaction`
// is not of a memory store.
RecordWriter* Records(Transaction& transaction);

class Store : public DedupStore {
 public:
  // The committed rows of `table`, in commit order.
  virtual std::vector<std::string> ReadRecords(std::string_view table) const = 0;
};

struct StoreOptions {
  // How long every call that changes ids or positions waits for the transaction that is open; then
  // kUnavailable.
  absl::Duration begin_timeout = absl::Seconds(5);
  // The clock of leases and delays; null: the system's. Must be thread-safe.
  std::function<absl::Time()> now = nullptr;
};

// Ids, published origins, redrives and records are kept for ever: memory grows with every new
// message.
std::shared_ptr<Store> OpenStore(const StoreOptions& options = {});

}  // namespace once::memory
