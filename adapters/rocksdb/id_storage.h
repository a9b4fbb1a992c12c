// Where the log of ids (src/stores/id_log) keeps segments, open rows, pages and manifest: in column
// families of the folder. What belongs to a transaction goes into its batch.
//
// Segments and pages have keys that only ascend, and go from the front as whole files: so nothing
// of theirs is ever compacted for the sake of what was removed.
// Thread-safety: as SegmentStorage says. REQUIRES for every call: in the database's turn, or inside
// of a Database::ReadScope.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/rocksdb/view.h"
#include "src/stores/id_log/segment_storage.h"

namespace once::rocksdb {

class Database;

class IdStorage final : public stores::SegmentStorage {
 public:
  // REQUIRES: `database` outlives it.
  explicit IdStorage(Database& database) : database_(database) {}
  // Only to be read: what `moment` sees, as long as Database::KeepFiles() holds.
  IdStorage(Database& database, const View& moment) : database_(database), moment_(moment) {}

  // What Append() and PutOpen() write into; null: no transaction is open.
  void Join(Batch* batch) { batch_ = batch; }

  absl::Status Append(std::uint64_t segment, std::string_view bytes) override;
  absl::Status PutOpen(std::string_view key, std::optional<std::string_view> row) override;
  absl::StatusOr<std::optional<std::string>> ReadManifest() override;
  absl::Status WriteManifest(std::string_view bytes) override;
  absl::Status ForEachOpen(
      absl::FunctionRef<absl::Status(std::string_view key, std::string_view row)> visit) override;
  absl::StatusOr<std::vector<std::uint32_t>> ListRuns() override;
  // In one step, whatever `max` is.
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
  View view() const;
  // Everything from `first` to before `end`: whole files at once, the rest by one mark.
  absl::Status DropRange(std::size_t family, const std::string& first, const std::string& end);

  Database& database_;
  const std::optional<View> moment_;
  Batch* batch_ = nullptr;
};

}  // namespace once::rocksdb
