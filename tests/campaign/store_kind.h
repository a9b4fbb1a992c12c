// A StoreKind is what a StoreWriter, which changes any store, and the judges of it must know of one
// in particular: how it is opened, where effects go, and what it holds, as text.
// Thread-safety: safe for concurrent use, but for SqliteKind while a Disk changes hands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"
#include "once/sqlite/store.h"

namespace once::campaign {

// Claims and delays are measured on a clock that stands still: what is written is the same in every
// run.
inline absl::Time StandingClock() { return absl::FromUnixSeconds(1'700'000'000); }

// What happens to a store in a process that is to be killed, beside its steps.
class Mischief {
 public:
  virtual ~Mischief() = default;
  // Before a step of a store that is open. True: the step may fail, and goes on after TakeRow().
  virtual bool Begin(const std::string& path, DedupStore& open, std::int64_t step) = 0;
  virtual void End() = 0;
};

class StoreKind {
 public:
  virtual ~StoreKind() = default;
  // Kill points that are this store's begin with it.
  virtual std::string_view name() const = 0;
  // What is committed for the machine survives a power failure.
  virtual bool is_synced() const { return true; }
  // With small caches and buffers; `seed` draws what else may differ from opening to opening.
  virtual absl::StatusOr<std::shared_ptr<DedupStore>> Open(const std::string& path,
                                                           std::uint64_t seed) const = 0;
  // Lies under the stores that are opened while it lives. Null: there is none.
  virtual std::unique_ptr<Mischief> MakeMischief() const { return nullptr; }
  virtual absl::Status AddEffect(Transaction& transaction, const std::string& id,
                                 std::size_t bytes) const = 0;
  // What the store at `path` holds, which is `open` in this process, without what differs between
  // stores that took the same steps: names of stores, openings, writers and owners. `steps`: those
  // that it may have taken. What is wrong with it comes instead.
  virtual std::vector<std::string> Dump(const std::string& path, DedupStore& open,
                                        std::int64_t steps) const = 0;
};

const StoreKind& SqliteKind(sqlite::Synchronous synchronous = sqlite::Synchronous::kFull);
const StoreKind& RocksdbKind();

// So small that a life sees RocksDB stores opened from now on seal, merge and drop ids.
void KeepRocksdbIdsInSmallFiles();

}  // namespace once::campaign
