// A Compaction turns segments, or several sorted runs, into one new run. It reads what never
// changes and writes pages that nobody knows yet, so it needs no lock and no transaction: run it on
// a background task, a slice at a time. What it made counts only once its IdLog has finished it.
// Thread-safety: one thread at a time; beside everything that its IdLog does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "src/stores/id_log/id_source.h"
#include "src/stores/id_log/manifest.h"
#include "src/stores/id_log/segment_storage.h"
#include "src/stores/id_log/sorted_run.h"

namespace once::stores {

class Compaction {
 public:
  struct Plan {
    // Of the run to come, as far as it is known: number, segments, log times. `ids` are at most so
    // many.
    RunInfo info;
    std::vector<std::shared_ptr<const SortedRun>> runs;  // oldest first; empty: seal the segments
    std::size_t page_bytes = 0;
    int filter_bits = 0;
  };

  // REQUIRES: `storage` outlives it.
  Compaction(Plan plan, SegmentStorage& storage);

  // Does some more: what takes about `bytes` of pages, or all that must be done at once. After an
  // error every further call gives the same one.
  absl::Status Step(std::size_t bytes);
  // What it has made, and will make, is of no use: the storage may have lost pages of it.
  void GiveUp(absl::Status why);
  // All that there was to do is done, or has failed.
  bool is_over() const { return run_ != nullptr || !status_.ok(); }

 private:
  friend class IdLog;

  absl::Status Begin();
  absl::Status WriteReady();

  const Plan plan_;
  SegmentStorage& storage_;
  RunWriter writer_;
  std::unique_ptr<IdSource> source_;
  bool is_finished_ = false;
  std::uint32_t written_ = 0;
  absl::Status status_;
  std::shared_ptr<const SortedRun> run_;  // once all is written, and was read again
};

}  // namespace once::stores
