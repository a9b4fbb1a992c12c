// Turns and transactions around the rows of connection_ids.h.
#include "adapters/sqlite/id_storage.h"

#include "absl/strings/str_cat.h"
#include "adapters/sqlite/database.h"
#include "src/test_hooks.h"

namespace once::sqlite {
namespace {

// Of the connection that reads: whatever is committed by another makes it forget them anyway.
constexpr int kCacheKibibytes = 1024;

}  // namespace

absl::Status IdStorage::Open(absl::Duration busy_timeout) {
  const std::string& path = database_.path();
  if (absl::Status prepared = writing_.Prepare(database_.writer(), path); !prepared.ok()) {
    return prepared;
  }
  absl::StatusOr<ConnectionHandle> reader = Connect(path, false, busy_timeout);
  if (!reader.ok()) return reader.status();
  reader_ = *std::move(reader);
  absl::Status set =
      Execute(reader_.get(),
              absl::StrCat("PRAGMA query_only = ON; PRAGMA main.cache_size = -", kCacheKibibytes),
              absl::StrCat("open ", path));
  return set.ok() ? reading_.Prepare(reader_.get(), path) : set;
}

absl::StatusOr<std::optional<std::string>> IdStorage::ReadManifest() {
  const Guard::StoreScope scope(database_.guard());
  return writing_.ReadManifest();
}

absl::Status IdStorage::WriteManifest(std::string_view bytes) {
  ONCE_KILL_POINT("sqlite.before_manifest");
  absl::Status written = database_.WriteInTurn("write the list of runs", Durability::kMachine,
                                               [&] { return writing_.WriteManifest(bytes); });
  ONCE_KILL_POINT("sqlite.manifest_written");
  return written;
}

absl::Status IdStorage::ForEachOpen(
    absl::FunctionRef<absl::Status(std::string_view key, std::string_view row)> visit) {
  const Guard::StoreScope scope(database_.guard());
  return writing_.ForEachOpen(visit);
}

absl::StatusOr<std::vector<std::uint32_t>> IdStorage::ListRuns() {
  const Guard::StoreScope scope(database_.guard());
  return writing_.ListRuns();
}

absl::StatusOr<bool> IdStorage::DropSegments(std::uint64_t end, std::size_t max) {
  absl::StatusOr<bool> is_gone = false;
  const absl::Status dropped =
      database_.WriteInTurn("remove ids that are in runs", Durability::kProcess, [&] {
        is_gone = writing_.DropSegments(end, max);
        return is_gone.status();
      });
  ONCE_KILL_POINT("sqlite.segments_dropped");
  if (!dropped.ok()) return dropped;
  return is_gone;
}

absl::StatusOr<bool> IdStorage::DropPages(std::uint32_t run, std::size_t max) {
  absl::StatusOr<bool> is_gone = false;
  const absl::Status dropped = database_.WriteInTurn("remove a run", Durability::kProcess, [&] {
    is_gone = writing_.DropPages(run, max);
    return is_gone.status();
  });
  ONCE_KILL_POINT("sqlite.pages_dropped");
  if (!dropped.ok()) return dropped;
  return is_gone;
}

absl::Status IdStorage::ForEachSegment(
    std::uint64_t first, std::uint64_t last,
    absl::FunctionRef<absl::Status(std::uint64_t segment, std::string_view bytes)> visit) {
  for (;;) {
    absl::StatusOr<std::optional<ConnectionIds::NumberedSegment>> found;
    {
      const std::lock_guard lock(reading_mutex_);
      found = reading_.FindSegment(first);
    }
    if (!found.ok()) return found.status();
    if (!*found || (*found)->number > last) return absl::OkStatus();
    if (absl::Status visited = visit((*found)->number, (*found)->bytes); !visited.ok()) {
      return visited;
    }
    first = (*found)->number + 1;
  }
}

absl::Status IdStorage::WritePages(std::uint32_t run, std::uint32_t first,
                                   std::span<const std::string> pages) {
  absl::Status written = database_.WriteApart(
      "write ids to a run", [&] { return writing_.WritePages(run, first, pages); });
  ONCE_KILL_POINT("sqlite.pages_written");
  return written;
}

absl::StatusOr<std::string> IdStorage::ReadPage(std::uint32_t run, std::uint32_t page) {
  const std::lock_guard lock(reading_mutex_);
  return reading_.ReadPage(run, page);
}

}  // namespace once::sqlite
