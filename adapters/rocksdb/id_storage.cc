// Values under ascending big-endian keys.
#include "adapters/rocksdb/id_storage.h"

#include <rocksdb/convenience.h>

#include <cassert>
#include <limits>
#include <memory>

#include "absl/strings/str_cat.h"
#include "adapters/rocksdb/batch.h"
#include "adapters/rocksdb/database.h"
#include "adapters/rocksdb/row_codec.h"
#include "adapters/rocksdb/status.h"
#include "src/test_hooks.h"

namespace once::rocksdb {
namespace {

constexpr const char* kManifestName = "manifest";

}  // namespace

View IdStorage::view() const {
  return moment_ ? *moment_ : View(database_.open_db(), nullptr, nullptr);
}

absl::Status IdStorage::Append(std::uint64_t segment, std::string_view bytes) {
  assert(batch_ != nullptr);
  return batch_->Put(kSegmentsFamily, SegmentKey(segment), bytes);
}

absl::Status IdStorage::PutOpen(std::string_view key, std::optional<std::string_view> row) {
  assert(batch_ != nullptr);
  return row ? batch_->Put(kOpenFamily, key, *row) : batch_->Delete(kOpenFamily, key);
}

absl::StatusOr<std::optional<std::string>> IdStorage::ReadManifest() {
  return view().Get(kRowsFamily, Key(kMetaTable, kManifestName));
}

absl::Status IdStorage::WriteManifest(std::string_view bytes) {
  ::rocksdb::WriteBatch batch;
  const ::rocksdb::Status put =
      batch.Put(database_.open_db().family(kRowsFamily), Key(kMetaTable, kManifestName),
                ::rocksdb::Slice(bytes.data(), bytes.size()));
  if (!put.ok()) return StatusOf(put, "write the list of runs");
  absl::Status written =
      database_.WriteApart(batch, Durability::kMachine, "write the list of runs");
  ONCE_KILL_POINT("rocksdb.manifest_switched");
  return written;
}

absl::Status IdStorage::ForEachOpen(
    absl::FunctionRef<absl::Status(std::string_view key, std::string_view row)> visit) {
  absl::Status visited;
  const absl::Status scanned =
      view().Scan(kOpenFamily, "", "", [&](std::string_view key, std::string_view row) {
        visited = visit(key, row);
        return visited.ok();
      });
  return visited.ok() ? scanned : visited;
}

absl::StatusOr<std::vector<std::uint32_t>> IdStorage::ListRuns() {
  std::vector<std::uint32_t> runs;
  std::uint64_t next = 0;
  for (bool is_end = false; !is_end && next <= std::numeric_limits<std::uint32_t>::max();) {
    is_end = true;
    absl::Status damage;
    const absl::Status scanned =
        view().Scan(kRunsFamily, RunPrefix(static_cast<std::uint32_t>(next)), "",
                    [&](std::string_view key, std::string_view) {
                      const auto run = RunOf(key);
                      damage.Update(run.status());
                      if (!run.ok()) return false;
                      runs.push_back(*run);
                      next = std::uint64_t{*run} + 1;
                      is_end = false;
                      return false;
                    });
    damage.Update(scanned);
    if (!damage.ok()) return damage;
  }
  return runs;
}

absl::Status IdStorage::DropRange(std::size_t family, const std::string& first,
                                  const std::string& end) {
  const OpenDb& open = database_.open_db();
  const ::rocksdb::Slice begin_key(first);
  const ::rocksdb::Slice end_key(end);
  // A write that failed leaves a handle that must not change any file.
  if (absl::Status writable = database_.CheckWritable(); !writable.ok()) return writable;
  const ::rocksdb::Status files = ::rocksdb::DeleteFilesInRange(
      &open.db(), open.family(family), &begin_key, &end_key, /*include_end=*/false);
  if (!files.ok()) return StatusOf(files, "remove files of ids");
  ONCE_KILL_POINT("rocksdb.files_dropped");
  ::rocksdb::WriteBatch batch;
  const ::rocksdb::Status put = batch.DeleteRange(open.family(family), begin_key, end_key);
  if (!put.ok()) return StatusOf(put, "remove ids");
  absl::Status removed =
      database_.WriteApart(batch, Durability::kProcess, "remove ids that are in runs");
  ONCE_KILL_POINT("rocksdb.ids_dropped");
  return removed;
}

absl::StatusOr<bool> IdStorage::DropSegments(std::uint64_t end, std::size_t) {
  absl::Status dropped = DropRange(kSegmentsFamily, SegmentKey(0), SegmentKey(end));
  if (!dropped.ok()) return dropped;
  return true;
}

absl::StatusOr<bool> IdStorage::DropPages(std::uint32_t run, std::size_t) {
  const std::string prefix = RunPrefix(run);
  absl::Status dropped = DropRange(kRunsFamily, prefix, EndOfPrefix(prefix));
  if (!dropped.ok()) return dropped;
  return true;
}

absl::Status IdStorage::ForEachSegment(
    std::uint64_t first, std::uint64_t last,
    absl::FunctionRef<absl::Status(std::uint64_t segment, std::string_view bytes)> visit) {
  absl::Status visited;
  const absl::Status scanned = view().Scan(kSegmentsFamily, SegmentKey(first), SegmentKey(last + 1),
                                           [&](std::string_view key, std::string_view bytes) {
                                             const auto segment = SegmentOf(key);
                                             visited = segment.status();
                                             if (visited.ok()) visited = visit(*segment, bytes);
                                             return visited.ok();
                                           });
  return visited.ok() ? scanned : visited;
}

absl::Status IdStorage::WritePages(std::uint32_t run, std::uint32_t first,
                                   std::span<const std::string> pages) {
  ::rocksdb::WriteBatch batch;
  for (const std::string& page : pages) {
    const ::rocksdb::Status put =
        batch.Put(database_.open_db().family(kRunsFamily), PageKey(run, first++), page);
    if (!put.ok()) return StatusOf(put, "write ids");
  }
  absl::Status written = database_.WriteApart(batch, Durability::kProcess, "write ids to a run");
  ONCE_KILL_POINT("rocksdb.pages_written");
  return written;
}

absl::StatusOr<std::string> IdStorage::ReadPage(std::uint32_t run, std::uint32_t page) {
  auto found = view().Get(kRunsFamily, PageKey(run, page));
  if (!found.ok()) return found.status();
  if (!*found) {
    return absl::NotFoundError(absl::StrCat("rocksdb: page ", page, " of run ", run));
  }
  return **std::move(found);
}

}  // namespace once::rocksdb
