// Rows under ascending numbers: a segment's own, and of a page its run's and its own.
#include "adapters/sqlite/connection_ids.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "adapters/sqlite/leaving_bytes.h"
#include "once/abseil.h"
#include "src/stores/id_log/run_page.h"

namespace once::sqlite {
namespace {

constexpr auto kPlaceMax = std::numeric_limits<std::int64_t>::max();

// Of a leaf page of the file what no row uses, by https://www.sqlite.org/fileformat2.html: the
// most of a row that lies on the page is 35 bytes less than the page has; the row's header takes 5.
constexpr std::size_t kBytesAround = 35 + 5;

std::int64_t PlaceOf(std::uint32_t run, std::uint32_t page) {
  return static_cast<std::int64_t>(std::uint64_t{run} << 32 | page);
}

std::uint32_t RunOf(std::int64_t place) {
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(place) >> 32);
}

}  // namespace

absl::StatusOr<std::size_t> FindRunPageBytes(sqlite3* connection, const std::string& path) {
  const std::string operation = absl::StrCat("read the page size of ", path);
  const auto text = QueryText(connection, "PRAGMA main.page_size", operation);
  if (!text.ok()) return text.status();
  std::size_t bytes = 0;
  if (!*text || !absl::SimpleAtoi(**text, &bytes) || bytes < kBytesAround) {
    return absl::DataLossError(absl::StrCat("sqlite: ", operation, ": it has none"));
  }
  return std::clamp(bytes - kBytesAround, stores::kPageBytesMin, stores::kPageBytesMax);
}

absl::Status ConnectionIds::Prepare(sqlite3* connection, const std::string& path) {
  connection_ = connection;
  const auto page_bytes = FindRunPageBytes(connection, path);
  if (!page_bytes.ok()) return page_bytes.status();
  page_bytes_ = *page_bytes;
  struct Wanted {
    Statement& statement;
    std::string_view sql;
  };
  const Wanted all[] = {
      {append_segment_, "INSERT INTO main.once_segments(number, bytes) VALUES(?1, ?2)"},
      {find_segment_,
       "SELECT number, bytes FROM main.once_segments WHERE number >= ?1 ORDER BY number LIMIT 1"},
      {next_segment_,
       "SELECT number, length(bytes) FROM main.once_segments WHERE number >= ?1 AND number < ?2 "
       "ORDER BY number LIMIT 1"},
      {drop_segment_, "DELETE FROM main.once_segments WHERE number = ?1"},
      {put_open_, "INSERT OR REPLACE INTO main.once_open(key, row) VALUES(?1, ?2)"},
      {drop_open_, "DELETE FROM main.once_open WHERE key = ?1"},
      {list_open_, "SELECT key, row FROM main.once_open"},
      {put_page_, "INSERT OR REPLACE INTO main.once_pages(place, bytes) VALUES(?1, ?2)"},
      {find_page_, "SELECT bytes FROM main.once_pages WHERE place = ?1"},
      {next_page_,
       "SELECT place, length(bytes) FROM main.once_pages WHERE place >= ?1 AND place < ?2 "
       "ORDER BY place LIMIT 1"},
      {drop_page_, "DELETE FROM main.once_pages WHERE place = ?1"},
      {find_manifest_, "SELECT value FROM main.once_meta WHERE key = 'manifest'"},
      {put_manifest_, "INSERT OR REPLACE INTO main.once_meta(key, value) VALUES('manifest', ?1)"},
  };
  for (const Wanted& wanted : all) {
    auto prepared =
        Statement::Prepare(connection, wanted.sql, absl::StrCat("read or write ids in ", path));
    if (!prepared.ok()) return prepared.status();
    wanted.statement = *std::move(prepared);
  }
  return absl::OkStatus();
}

absl::Status ConnectionIds::Append(std::uint64_t segment, std::string_view bytes) {
  append_segment_.Bind(1, static_cast<std::int64_t>(segment));
  append_segment_.BindBytes(2, bytes);
  return append_segment_.Run();
}

absl::Status ConnectionIds::PutOpen(std::string_view key, std::optional<std::string_view> row) {
  Statement& put = row ? put_open_ : drop_open_;
  put.BindBytes(1, key);
  if (row) put.BindBytes(2, *row);
  return put.Run();
}

absl::StatusOr<std::optional<std::string>> ConnectionIds::ReadManifest() {
  const absl::StatusOr<bool> has_row = find_manifest_.Step();
  if (!has_row.ok()) return has_row.status();
  if (!*has_row) return std::nullopt;
  std::string bytes(find_manifest_.Bytes(0));
  find_manifest_.Reset();
  return bytes;
}

absl::Status ConnectionIds::WriteManifest(std::string_view bytes) {
  put_manifest_.BindBytes(1, bytes);
  return put_manifest_.Run();
}

absl::Status ConnectionIds::ForEachOpen(
    absl::FunctionRef<absl::Status(std::string_view key, std::string_view row)> visit) {
  absl::StatusOr<bool> has_row = list_open_.Step();
  for (; has_row.ok() && *has_row; has_row = list_open_.Step()) {
    absl::Status visited = visit(list_open_.Bytes(0), list_open_.Bytes(1));
    if (visited.ok()) continue;
    list_open_.Reset();
    return visited;
  }
  return has_row.status();
}

absl::StatusOr<std::vector<std::uint32_t>> ConnectionIds::ListRuns() {
  std::vector<std::uint32_t> runs;
  std::int64_t from = 0;
  for (;;) {
    next_page_.Bind(1, from);
    next_page_.Bind(2, kPlaceMax);
    const absl::StatusOr<bool> has_row = next_page_.Step();
    if (!has_row.ok()) return has_row.status();
    if (!*has_row) return runs;
    runs.push_back(RunOf(next_page_.Int(0)));
    next_page_.Reset();
    from = PlaceOf(runs.back() + 1, 0);
  }
}

absl::StatusOr<bool> ConnectionIds::DropRows(Statement& next, Statement& drop, std::int64_t first,
                                             std::int64_t end, std::size_t pages_max) {
  const LeavingBytes leaving(connection_);
  for (std::size_t pages = 0; pages < pages_max;) {
    next.Bind(1, first);
    next.Bind(2, end);
    const absl::StatusOr<bool> has_row = next.Step();
    if (!has_row.ok()) return has_row.status();
    if (!*has_row) return true;
    first = next.Int(0);
    pages += 1 + static_cast<std::size_t>(next.Int(1)) / page_bytes_;
    next.Reset();
    drop.Bind(1, first);
    if (absl::Status dropped = drop.Run(); !dropped.ok()) return dropped;
  }
  return false;
}

absl::StatusOr<bool> ConnectionIds::DropSegments(std::uint64_t end, std::size_t max) {
  return DropRows(next_segment_, drop_segment_, 0, static_cast<std::int64_t>(end), max);
}

absl::StatusOr<bool> ConnectionIds::DropPages(std::uint32_t run, std::size_t max) {
  return DropRows(next_page_, drop_page_, PlaceOf(run, 0), PlaceOf(run + 1, 0), max);
}

absl::StatusOr<std::optional<ConnectionIds::NumberedSegment>> ConnectionIds::FindSegment(
    std::uint64_t number) {
  find_segment_.Bind(1, static_cast<std::int64_t>(number));
  const absl::StatusOr<bool> has_row = find_segment_.Step();
  if (!has_row.ok()) return has_row.status();
  if (!*has_row) return std::nullopt;
  NumberedSegment found{.number = static_cast<std::uint64_t>(find_segment_.Int(0)),
                        .bytes = std::string(find_segment_.Bytes(1))};
  find_segment_.Reset();
  return found;
}

absl::Status ConnectionIds::ForEachSegment(
    std::uint64_t first, std::uint64_t last,
    absl::FunctionRef<absl::Status(std::uint64_t segment, std::string_view bytes)> visit) {
  for (;;) {
    const auto found = FindSegment(first);
    if (!found.ok()) return found.status();
    if (!*found || (*found)->number > last) return absl::OkStatus();
    if (absl::Status visited = visit((*found)->number, (*found)->bytes); !visited.ok()) {
      return visited;
    }
    first = (*found)->number + 1;
  }
}

absl::Status ConnectionIds::WritePages(std::uint32_t run, std::uint32_t first,
                                       std::span<const std::string> pages) {
  for (const std::string& page : pages) {
    put_page_.Bind(1, PlaceOf(run, first++));
    put_page_.BindBytes(2, page);
    if (absl::Status put = put_page_.Run(); !put.ok()) return put;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ConnectionIds::ReadPage(std::uint32_t run, std::uint32_t page) {
  find_page_.Bind(1, PlaceOf(run, page));
  const absl::StatusOr<bool> has_row = find_page_.Step();
  if (!has_row.ok()) return has_row.status();
  if (!*has_row) {
    return absl::NotFoundError(absl::StrCat("sqlite: page ", page, " of run ", run));
  }
  std::string bytes(find_page_.Bytes(0));
  find_page_.Reset();
  return bytes;
}

}  // namespace once::sqlite
