// An OutgoingStorage is what an embedded store must be able to do so that SingleLaneLog can make a
// log of outgoing messages of it: rows under ascending numbers, which transactions append, and
// facts, which only the log writes and understands.
// Thread-safety: calls come one at a time, from any thread, beside transactions of the store.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/outgoing_log.h"

namespace once::stores {

// At most so many rows and, but for the first, bytes.
struct RowBound {
  std::size_t rows_max = 0;
  std::size_t bytes_max = std::numeric_limits<std::size_t>::max();
  std::vector<OutgoingRow>* spent = nullptr;  // rows to be taken, whose memory may be used; or none
};

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
  // and never again, also not after its row was dropped and the store opened anew. Here and below
  // a row that cannot be read is told with its damage, and the others with it.
  virtual absl::StatusOr<std::vector<OutgoingRow>> FindRows(std::int64_t after,
                                                            const RowBound& bound) = 0;
  // rows[i] of numbers[i]. One that is not there is damaged. REQUIRES: `numbers` ascend.
  virtual absl::StatusOr<std::vector<OutgoingRow>> ReadRows(
      std::span<const std::int64_t> numbers) = 0;
  // The greatest number that was ever committed; 0: none yet.
  virtual absl::StatusOr<std::int64_t> FindLast() = 0;
  // About how many bytes the rows there are have.
  virtual absl::StatusOr<std::uint64_t> MeasureBytes() = 0;

  // After a Write() that was unknown: what is true from now on.
  virtual absl::StatusOr<std::vector<OutgoingFact>> ReadFacts() = 0;

  // One transaction, synced. kUnknown: it may have happened; ReadFacts() shows whether it has.
  virtual absl::Status Write(const OutgoingChange& change) = 0;
};

}  // namespace once::stores
