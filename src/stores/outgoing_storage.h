// An OutgoingStorage is what an embedded store must be able to do so that SingleLaneLog can make a
// log of outgoing messages of it: rows under ascending numbers, which transactions append, and
// facts, which only the log writes and understands.
// Thread-safety: calls come one at a time, from any thread, beside transactions of the store.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/outgoing_log.h"

namespace once::stores {

struct OutgoingFact {
  std::string key;
  std::optional<std::string> value;  // nullopt: the fact is forgotten
};

struct OutgoingChange {
  // All rows with numbers from `first` to `last`.
  struct Range {
    std::int64_t first = 0;
    std::int64_t last = 0;
  };
  std::vector<OutgoingFact> facts;
  std::vector<Range> dropped;
};

class OutgoingStorage {
 public:
  virtual ~OutgoingStorage() = default;

  // Committed rows with numbers above `after`, ascending. A number is given in the order of commits
  // and never again, also not after its row was dropped and the store opened anew.
  virtual absl::StatusOr<std::vector<OutgoingRow>> FindRows(std::int64_t after,
                                                            const OutgoingLog::Bound& bound) = 0;
  // rows[i] of numbers[i]. kDataLoss: one is not there. REQUIRES: `numbers` ascend.
  virtual absl::StatusOr<std::vector<OutgoingRow>> ReadRows(
      std::span<const std::int64_t> numbers) = 0;
  // The greatest number that was ever committed; 0: none yet.
  virtual absl::StatusOr<std::int64_t> FindLast() = 0;

  // After a Write() that was unknown: what is true from now on.
  virtual absl::StatusOr<std::vector<OutgoingFact>> ReadFacts() = 0;

  // One transaction, synced. kUnknown: it may have happened; ReadFacts() shows whether it has.
  virtual absl::Status Write(const OutgoingChange& change) = 0;
};

}  // namespace once::stores
