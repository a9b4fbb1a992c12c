// What the log of outgoing messages needs of an in-memory store. Private to src/memory.
// Thread-safety: safe for concurrent use.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/memory/memory_store.h"
#include "src/stores/outgoing_storage.h"

namespace once::memory {

class MemoryOutgoing final : public stores::OutgoingStorage {
 public:
  explicit MemoryOutgoing(std::shared_ptr<MemoryData> data) : data_(std::move(data)) {}

  absl::StatusOr<std::vector<OutgoingRow>> FindRows(std::int64_t after,
                                                    const stores::RowBound& bound) override;
  absl::StatusOr<std::vector<OutgoingRow>> ReadRows(std::span<const std::int64_t> numbers) override;
  absl::StatusOr<std::int64_t> FindLast() override;
  absl::StatusOr<std::uint64_t> MeasureBytes() override;
  absl::StatusOr<std::vector<stores::OutgoingFact>> ReadFacts() override;
  // Beside whatever transaction is open: none reads or changes what a relay does.
  absl::Status Write(const stores::OutgoingChange& change) override;

 private:
  const std::shared_ptr<MemoryData> data_;
};

}  // namespace once::memory
