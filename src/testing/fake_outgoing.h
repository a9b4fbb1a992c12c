// FakeOutgoing: what a SingleLaneLog needs of a fake store, as one connection offers it.
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/stores/outgoing_storage.h"

namespace once::testing {

class FakeConnection;

class FakeOutgoing final : public stores::OutgoingStorage {
 public:
  // The connection that it is part of.
  explicit FakeOutgoing(FakeConnection& connection) : connection_(connection) {}

  absl::StatusOr<std::vector<OutgoingRow>> FindRows(std::int64_t after,
                                                    const stores::RowBound& bound) override;
  absl::StatusOr<std::vector<OutgoingRow>> ReadRows(std::span<const std::int64_t> numbers) override;
  absl::StatusOr<std::int64_t> FindLast() override;
  absl::StatusOr<std::uint64_t> MeasureBytes() override;
  absl::StatusOr<std::vector<stores::OutgoingFact>> ReadFacts() override;
  absl::Status Write(const stores::OutgoingChange& change) override;

 private:
  FakeConnection& connection_;
};

}  // namespace once::testing
