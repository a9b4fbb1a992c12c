// A store that is filled with ids and measured: its own folder or schema, and what it occupies.
// Failures end the process with a message: nothing can be measured then.
// Thread-safety: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "once/dedup_store.h"

namespace once::benchmark {

struct StorePlace {
  std::string kind;      // memory, sqlite, rocksdb or postgres
  std::string folder;    // exists; for embedded stores
  std::string postgres;  // connection string of a server
};

class MeasuredStore {
 public:
  explicit MeasuredStore(const StorePlace& place);
  ~MeasuredStore();
  MeasuredStore(const MeasuredStore&) = delete;
  MeasuredStore& operator=(const MeasuredStore&) = delete;

  // Ids 0 to this - 1 are there.
  std::uint64_t known() const { return known_; }

  // Adds ids until there are `ids`, and waits until the store has nothing left to do by itself.
  void FillTo(std::uint64_t ids);

  struct Measurement {
    std::uint64_t ids = 0;  // looked up, one in twenty of them known
    double seconds = 0;
    double cpu_seconds = 0;  // of this process: a server's is not in it
  };
  // Batches of `batch` ids, each a transaction that looks them up, adds those that are new, and is
  // durable as the store makes it. Those that are known are of the last `known_among`. Every answer
  // is checked.
  Measurement Measure(std::size_t batch, std::uint64_t ids, std::uint64_t known_among);

  std::uint64_t DiskBytes() const;
  // Of this process, beyond what it had before the store was opened.
  std::uint64_t MemoryBytes() const;

 private:
  void Apply(const std::vector<std::uint64_t>& numbers, std::uint64_t known_below,
             Durability wanted);

  const StorePlace place_;
  const std::string schema_;
  std::uint64_t memory_before_ = 0;
  std::shared_ptr<DedupStore> store_;
  std::uint64_t known_ = 0;
};

}  // namespace once::benchmark
