// What an embedded store does for the log of its ids: it keeps four kinds of values, and says which
// of them are written together. An IdLog calls it; nobody else does.
//
//   segments   number → bytes    one per commit that completed ids; numbers without gaps
//   open rows  key → bytes       ids of which more is known than that they are completed
//   pages      (run, page) → bytes   of sorted runs, never changed once written
//   manifest   one value         which segments and runs count
//
// THE ORDER OF WHAT SURVIVES. A power cut may undo unsynced transactions, but only a tail of them:
// whoever survives, so does everything that was committed before. Pages may be lost in any order
// and halves of them may survive, until a WriteManifest() that came later was answered OK.
//
// STATUSES. By the contract of every seam (executor.h): kUnknown = may have been applied,
// kCancelled = stopping or dead, anything else = not applied. kResourceExhausted for a full disk.
// Bytes need no checksum of the store's own: the log brings one with each value.
//
// Thread-safety: the calls of the first two groups come one at a time, under whatever lock the
// store's writers take turns by. Those of the third come from a background task at any time, also
// beside an open transaction and beside each other; the store takes its own turns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace once::stores {

class SegmentStorage {
 public:
  virtual ~SegmentStorage() = default;

  // 1. In the transaction that is open: visible and durable with its commit, gone with its
  // rollback. After an error only a rollback may follow.

  virtual absl::Status Append(std::uint64_t segment, std::string_view bytes) = 0;
  // nullopt removes the row; there may be none.
  virtual absl::Status PutOpen(std::string_view key, std::optional<std::string_view> row) = 0;

  // 2. With no transaction open. Each that writes is a transaction of its own.

  virtual absl::StatusOr<std::optional<std::string>> ReadManifest() = 0;
  // Replaces it at once or not at all. OK: synced, and so is every page that was written before.
  virtual absl::Status WriteManifest(std::string_view bytes) = 0;
  // In any order. An error of the visitor ends it and is returned.
  virtual absl::Status ForEachOpen(
      absl::FunctionRef<absl::Status(std::string_view key, std::string_view row)> visit) = 0;
  // The runs of which there is a page, in any order.
  virtual absl::StatusOr<std::vector<std::uint32_t>> ListRuns() = 0;
  // Removes some of the segments below `end`, about `max` of them, unsynced. True: none are left.
  virtual absl::StatusOr<bool> DropSegments(std::uint64_t end, std::size_t max) = 0;
  // Removes some of the pages of a run likewise. True: none are left.
  virtual absl::StatusOr<bool> DropPages(std::uint32_t run, std::size_t max) = 0;

  // 3. At any time.

  // The segments from `first` to `last`, both included, in the order of their numbers: those that
  // are there. An error of the visitor ends it and is returned.
  virtual absl::Status ForEachSegment(
      std::uint64_t first, std::uint64_t last,
      absl::FunctionRef<absl::Status(std::uint64_t segment, std::string_view bytes)> visit) = 0;
  // Writes pages `first`, `first` + 1, … of a run that no manifest names yet. Need not be synced.
  virtual absl::Status WritePages(std::uint32_t run, std::uint32_t first,
                                  std::span<const std::string> pages) = 0;
  // kNotFound when it is not there: by the log's own account, damage.
  virtual absl::StatusOr<std::string> ReadPage(std::uint32_t run, std::uint32_t page) = 0;
};

}  // namespace once::stores
