// The rows of the log of ids in a store that is open: what belongs to a transaction is written by
// the writing connection, in the transaction that has it; what is written apart from that takes
// turns of its own; and pages are read beside all of it on a third connection.
// Thread-safety: as SegmentStorage says.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/sqlite/connection.h"
#include "adapters/sqlite/connection_ids.h"
#include "src/stores/id_log/segment_storage.h"

namespace once::sqlite {

class Database;

class IdStorage final : public stores::SegmentStorage {
 public:
  // REQUIRES: `database` outlives it.
  explicit IdStorage(Database& database) : database_(database) {}
  // REQUIRES: the tables are there.
  absl::Status Open(absl::Duration busy_timeout);

  absl::Status Append(std::uint64_t segment, std::string_view bytes) override {
    return writing_.Append(segment, bytes);
  }
  absl::Status PutOpen(std::string_view key, std::optional<std::string_view> row) override {
    return writing_.PutOpen(key, row);
  }
  absl::StatusOr<std::optional<std::string>> ReadManifest() override;
  absl::Status WriteManifest(std::string_view bytes) override;
  absl::Status ForEachOpen(
      absl::FunctionRef<absl::Status(std::string_view key, std::string_view row)> visit) override;
  absl::StatusOr<std::vector<std::uint32_t>> ListRuns() override;
  absl::StatusOr<bool> DropSegments(std::uint64_t end, std::size_t max) override;
  absl::StatusOr<bool> DropPages(std::uint32_t run, std::size_t max) override;
  absl::Status ForEachSegment(
      std::uint64_t first, std::uint64_t last,
      absl::FunctionRef<absl::Status(std::uint64_t segment, std::string_view bytes)> visit)
      override;
  absl::Status WritePages(std::uint32_t run, std::uint32_t first,
                          std::span<const std::string> pages) override;
  absl::StatusOr<std::string> ReadPage(std::uint32_t run, std::uint32_t page) override;

 private:
  Database& database_;
  ConnectionIds writing_;
  std::mutex reading_mutex_;  // held for one page or segment at a time
  ConnectionHandle reader_;
  ConnectionIds reading_;
};

}  // namespace once::sqlite
