// OutgoingTable: the outgoing messages of an in-memory store, and the facts of their log. It knows
// no locks. Private to src/memory.
// Thread-safety: none of its own.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "once/outgoing_log.h"
#include "src/stores/outgoing_storage.h"

namespace once::memory {

class OutgoingTable {
 public:
  // When the transaction commits: so the numbers are in the order of commits.
  void Append(OutgoingMessage message, absl::Time now) {
    const std::int64_t number = ++last_;
    rows_.emplace(number,
                  OutgoingRow{.number = number, .message = std::move(message), .put_at = now});
  }
  void Apply(const stores::OutgoingChange& change);

  const std::map<std::int64_t, OutgoingRow>& rows() const { return rows_; }
  const std::map<std::string, std::string>& facts() const { return facts_; }
  std::int64_t last() const { return last_; }

 private:
  std::map<std::int64_t, OutgoingRow> rows_;
  std::map<std::string, std::string> facts_;
  std::int64_t last_ = 0;
};

}  // namespace once::memory
