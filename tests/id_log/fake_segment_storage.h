// A SegmentStorage in memory that fails as disks and processes do. Beside the log's values it keeps
// the truth: what each id was last put as, written in the same transactions. So whatever survives,
// the log has to agree with it.
// Thread-safety: none of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "src/stores/id_log/open_rows.h"
#include "src/stores/id_log/segment_storage.h"

namespace once::stores {

enum class Fault : std::uint8_t {
  kError,        // a definite one
  kUnknown,      // kUnknown, and not applied
  kUnknownDone,  // kUnknown, and applied
  kCrash,        // the process dies before the call
  kCrashDone,    // … or after it
};
inline constexpr Fault kFaults[] = {Fault::kError, Fault::kUnknown, Fault::kUnknownDone,
                                    Fault::kCrash, Fault::kCrashDone};

enum class Restart : std::uint8_t {
  kKill,          // what is committed stays
  kPowerCut,      // nothing stays that was not synced
  kTornPowerCut,  // some of the transactions do, and some pages or halves of them
};
inline constexpr Restart kRestarts[] = {Restart::kKill, Restart::kPowerCut, Restart::kTornPowerCut};

class FakeSegmentStorage : public SegmentStorage {
 public:
  using Key = std::pair<std::string, std::string>;  // scope, id
  struct Truth {
    OpenRow row;
    std::int64_t log_time_ms = 0;
  };
  struct Disk {
    std::map<std::uint64_t, std::string> segments;
    std::map<std::string, std::string> open;
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::string> pages;
    std::optional<std::string> manifest;
    std::map<Key, Truth> truth;
  };

  // The n-th call from now on (0: the next) fails.
  void FailCall(std::uint64_t n, Fault fault) { fail_at_ = calls_ + n, fault_ = fault; }
  void FailNoCall() { fail_at_ = UINT64_MAX; }
  std::uint64_t calls() const { return calls_; }
  bool is_dead() const { return is_dead_; }
  void StartAgain(Restart restart, std::mt19937_64& random);

  // The store's side of a transaction.
  void Begin() { transaction_.clear(); }
  void PutTruth(const Key& key, std::optional<Truth> truth);
  absl::Status Commit(bool is_synced);
  void Rollback() { transaction_.clear(); }

  // What the process sees; changes are damage.
  Disk& disk() { return disk_; }

  absl::Status Append(std::uint64_t segment, std::string_view bytes) override;
  absl::Status PutOpen(std::string_view key, std::optional<std::string_view> row) override;
  absl::StatusOr<std::optional<std::string>> ReadManifest() override;
  absl::Status WriteManifest(std::string_view bytes) override;
  absl::Status ForEachOpen(
      absl::FunctionRef<absl::Status(std::string_view, std::string_view)> visit) override;
  absl::StatusOr<std::vector<std::uint32_t>> ListRuns() override;
  absl::StatusOr<bool> DropSegments(std::uint64_t end, std::size_t max) override;
  absl::StatusOr<bool> DropPages(std::uint32_t run, std::size_t max) override;
  absl::Status ForEachSegment(
      std::uint64_t first, std::uint64_t last,
      absl::FunctionRef<absl::Status(std::uint64_t, std::string_view)> visit) override;
  absl::Status WritePages(std::uint32_t run, std::uint32_t first,
                          std::span<const std::string> pages) override;
  absl::StatusOr<std::string> ReadPage(std::uint32_t run, std::uint32_t page) override;

 private:
  using Change = std::function<void(Disk&)>;

  // Counts the call and makes the planned fault of it. `change` is applied if the call is.
  absl::Status Call(const Change& change);
  void Apply(const Change& change, bool is_synced);
  void SyncPages();

  Disk disk_;
  Disk synced_;
  std::vector<Change> unsynced_;  // since; a tail of them may be lost
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::string> unsynced_pages_;
  std::vector<Change> transaction_;
  std::uint64_t calls_ = 0;
  std::uint64_t fail_at_ = UINT64_MAX;
  Fault fault_ = Fault::kError;
  bool is_dead_ = false;
};

}  // namespace once::stores
