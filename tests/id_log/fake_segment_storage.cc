// Two disks: what is seen, and what would be left; between them the changes that are not synced.
#include "tests/id_log/fake_segment_storage.h"

namespace once::stores {

void FakeSegmentStorage::Apply(const Change& change, bool is_synced) {
  change(disk_);
  if (!is_synced) {
    unsynced_.push_back(change);
    return;
  }
  synced_ = disk_;
  unsynced_.clear();
  // Only a manifest is a promise about pages.
  for (const auto& [address, bytes] : unsynced_pages_) synced_.pages.erase(address);
}

void FakeSegmentStorage::SyncPages() {
  unsynced_pages_.clear();
  synced_ = disk_;
}

absl::Status FakeSegmentStorage::Call(const Change& change) {
  if (is_dead_) return absl::CancelledError("the process is dead");
  if (calls_++ != fail_at_) {
    if (change) change(disk_);
    return absl::OkStatus();
  }
  const bool is_done = fault_ == Fault::kUnknownDone || fault_ == Fault::kCrashDone;
  if (is_done && change) change(disk_);
  if (fault_ == Fault::kError) return absl::ResourceExhaustedError("planned");
  if (fault_ == Fault::kUnknown || fault_ == Fault::kUnknownDone) {
    return absl::UnknownError("planned");
  }
  is_dead_ = true;
  return absl::CancelledError("planned");
}

void FakeSegmentStorage::StartAgain(Restart restart, std::mt19937_64& random) {
  is_dead_ = false;
  FailNoCall();
  transaction_.clear();
  if (restart == Restart::kKill) return;
  disk_ = synced_;
  if (restart == Restart::kTornPowerCut) {
    const std::size_t kept = random() % (unsynced_.size() + 1);
    for (std::size_t i = 0; i < kept; ++i) unsynced_[i](disk_);
    for (const auto& [address, bytes] : unsynced_pages_) {
      switch (random() % 3) {
        case 0:
          break;
        case 1:
          disk_.pages[address] = bytes;
          break;
        default:
          disk_.pages[address] = bytes.substr(0, bytes.size() / 2) + std::string(64, '\0');
      }
    }
  }
  unsynced_pages_.clear();
  Apply([](Disk&) {}, true);
}

void FakeSegmentStorage::PutTruth(const Key& key, std::optional<Truth> truth) {
  transaction_.push_back([key, truth](Disk& disk) {
    if (truth) {
      disk.truth[key] = *truth;
    } else {
      disk.truth.erase(key);
    }
  });
}

absl::Status FakeSegmentStorage::Commit(bool is_synced) {
  const std::vector<Change> changes = std::move(transaction_);
  transaction_.clear();
  return Call([&](Disk&) {
    Apply(
        [changes](Disk& disk) {
          for (const Change& change : changes) change(disk);
        },
        is_synced);
  });
}

absl::Status FakeSegmentStorage::Append(std::uint64_t segment, std::string_view bytes) {
  return Call([&](Disk&) {
    transaction_.push_back(
        [segment, kept = std::string(bytes)](Disk& disk) { disk.segments[segment] = kept; });
  });
}

absl::Status FakeSegmentStorage::PutOpen(std::string_view key,
                                         std::optional<std::string_view> row) {
  return Call([&](Disk&) {
    const auto kept = row ? std::optional(std::string(*row)) : std::nullopt;
    transaction_.push_back([key = std::string(key), kept](Disk& disk) {
      if (kept) {
        disk.open[key] = *kept;
      } else {
        disk.open.erase(key);
      }
    });
  });
}

absl::StatusOr<std::optional<std::string>> FakeSegmentStorage::ReadManifest() {
  if (absl::Status called = Call(nullptr); !called.ok()) return called;
  return disk_.manifest;
}

absl::Status FakeSegmentStorage::WriteManifest(std::string_view bytes) {
  return Call([&](Disk&) {
    Apply([kept = std::string(bytes)](Disk& disk) { disk.manifest = kept; }, true);
    SyncPages();
  });
}

absl::Status FakeSegmentStorage::ForEachOpen(
    absl::FunctionRef<absl::Status(std::string_view, std::string_view)> visit) {
  if (absl::Status called = Call(nullptr); !called.ok()) return called;
  for (const auto& [key, row] : disk_.open) {
    if (absl::Status visited = visit(key, row); !visited.ok()) return visited;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::uint32_t>> FakeSegmentStorage::ListRuns() {
  if (absl::Status called = Call(nullptr); !called.ok()) return called;
  std::vector<std::uint32_t> runs;
  for (const auto& [address, bytes] : disk_.pages) {
    if (runs.empty() || runs.back() != address.first) runs.push_back(address.first);
  }
  return runs;
}

absl::StatusOr<bool> FakeSegmentStorage::DropSegments(std::uint64_t end, std::size_t max) {
  const absl::Status called = Call([&](Disk&) {
    Apply(
        [end, max](Disk& disk) {
          for (std::size_t i = 0; i < max && !disk.segments.empty(); ++i) {
            if (disk.segments.begin()->first >= end) break;
            disk.segments.erase(disk.segments.begin());
          }
        },
        false);
  });
  if (!called.ok()) return called;
  return disk_.segments.empty() || disk_.segments.begin()->first >= end;
}

absl::StatusOr<bool> FakeSegmentStorage::DropPages(std::uint32_t run, std::size_t max) {
  const absl::Status called = Call([&](Disk&) {
    Apply(
        [run, max](Disk& disk) {
          for (std::size_t i = 0; i < max; ++i) {
            const auto page = disk.pages.lower_bound({run, 0});
            if (page == disk.pages.end() || page->first.first != run) break;
            disk.pages.erase(page);
          }
        },
        false);
  });
  if (!called.ok()) return called;
  const auto page = disk_.pages.lower_bound({run, 0});
  return page == disk_.pages.end() || page->first.first != run;
}

absl::Status FakeSegmentStorage::ForEachSegment(
    std::uint64_t first, std::uint64_t last,
    absl::FunctionRef<absl::Status(std::uint64_t, std::string_view)> visit) {
  if (absl::Status called = Call(nullptr); !called.ok()) return called;
  for (auto next = disk_.segments.lower_bound(first);
       next != disk_.segments.end() && next->first <= last; ++next) {
    if (absl::Status visited = visit(next->first, next->second); !visited.ok()) return visited;
  }
  return absl::OkStatus();
}

absl::Status FakeSegmentStorage::WritePages(std::uint32_t run, std::uint32_t first,
                                            std::span<const std::string> pages) {
  return Call([&](Disk& disk) {
    for (std::size_t i = 0; i < pages.size(); ++i) {
      const std::pair address(run, first + static_cast<std::uint32_t>(i));
      disk.pages[address] = pages[i];
      unsynced_pages_[address] = pages[i];
    }
  });
}

absl::StatusOr<std::string> FakeSegmentStorage::ReadPage(std::uint32_t run, std::uint32_t page) {
  if (absl::Status called = Call(nullptr); !called.ok()) return called;
  const auto found = disk_.pages.find({run, page});
  if (found == disk_.pages.end()) return absl::NotFoundError("no such page");
  return found->second;
}

}  // namespace once::stores
