// Where the log of ids (src/stores/id_log) keeps segments, open rows, pages and manifest: rows of
// one connection, written in whatever transaction it has open. Nothing here begins or ends one.
// Thread-safety: as the connection.
#pragma once

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/sqlite/statement.h"
#include "src/stores/id_log/segment_storage.h"

namespace once::sqlite {

// The largest page of a run that lies in one page of `connection`'s file: a row that is larger than
// that takes a chain of pages, each of them half empty and one more to be read.
absl::StatusOr<std::size_t> FindRunPageBytes(sqlite3* connection, const std::string& path);

class ConnectionIds final : public stores::SegmentStorage {
 public:
  // REQUIRES: `connection` outlives it. `path` is for error messages.
  absl::Status Prepare(sqlite3* connection, const std::string& path);

  absl::Status Append(std::uint64_t segment, std::string_view bytes) override;
  absl::Status PutOpen(std::string_view key, std::optional<std::string_view> row) override;
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

  struct NumberedSegment {
    std::uint64_t number = 0;
    std::string bytes;
  };
  // The first segment from `number` on, if there is one.
  absl::StatusOr<std::optional<NumberedSegment>> FindSegment(std::uint64_t number);

 private:
  // Removes rows of a table that `next` finds from `first` to before `end`, until about `pages_max`
  // pages of the file are free. True: none are left.
  absl::StatusOr<bool> DropRows(Statement& next, Statement& drop, std::int64_t first,
                                std::int64_t end, std::size_t pages_max);

  sqlite3* connection_ = nullptr;
  std::size_t page_bytes_ = 0;
  Statement append_segment_, find_segment_, next_segment_, drop_segment_;
  Statement put_open_, drop_open_, list_open_;
  Statement put_page_, find_page_, next_page_, drop_page_;
  Statement find_manifest_, put_manifest_;
};

}  // namespace once::sqlite
