// Outgoing messages as rows: appended by transactions, read beside them, dropped by the log that
// knows what they mean (src/stores/single_lane_log.h).
// Thread-safety: PublishRow as the transaction; SqliteOutgoing safe for concurrent use.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/sqlite/database.h"
#include "src/stores/outgoing_storage.h"

namespace once::sqlite {

// REQUIRES: a transaction is open, and the store is at work.
absl::Status PublishRow(Database& database, const OutgoingMessage& message);

class SqliteOutgoing final : public stores::OutgoingStorage {
 public:
  explicit SqliteOutgoing(std::shared_ptr<Database> database) : database_(std::move(database)) {}

  absl::StatusOr<std::vector<OutgoingRow>> FindRows(std::int64_t after,
                                                    const stores::RowBound& bound) override;
  absl::StatusOr<std::vector<OutgoingRow>> ReadRows(std::span<const std::int64_t> numbers) override;
  absl::StatusOr<std::int64_t> FindLast() override;
  absl::StatusOr<std::uint64_t> MeasureBytes() override;
  absl::StatusOr<std::vector<stores::OutgoingFact>> ReadFacts() override;
  absl::Status Write(const stores::OutgoingChange& change) override;

 private:
  OutgoingRow RowAt(const Statement& row) const;
  void ReadRowAt(const Statement& row, OutgoingRow& into) const;
  OutgoingRow Damaged(std::int64_t number, std::string_view how) const;

  const std::shared_ptr<Database> database_;
};

}  // namespace once::sqlite
