// Completed ids in the order of runs, from wherever they are: what is merged into a new run, and
// how a log is read from end to end.
// Private to src/stores. Thread-safety: none of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/stores/id_log/run_page.h"
#include "src/stores/id_log/segment_codec.h"
#include "src/stores/id_log/segment_storage.h"
#include "src/stores/id_log/sorted_run.h"

namespace once::stores {

// By scope, form, width, bytes.
std::strong_ordering CompareIds(const StoredId& a, const StoredId& b);

class IdSource {
 public:
  virtual ~IdSource() = default;
  // Goes to the next id, at first to the first one; false at the end.
  virtual absl::StatusOr<bool> Next() = 0;
  // Valid until Next(). REQUIRES: Next() gave true.
  virtual const StoredId& current() const = 0;
};

// Of a run, page by page.
class RunSource : public IdSource {
 public:
  // REQUIRES: `storage` outlives it.
  RunSource(std::shared_ptr<const SortedRun> run, SegmentStorage& storage)
      : run_(std::move(run)), storage_(storage) {}

  absl::StatusOr<bool> Next() override;
  const StoredId& current() const override { return ids_[next_ - 1]; }

 private:
  std::shared_ptr<const SortedRun> run_;
  SegmentStorage& storage_;
  std::optional<RunPage> page_;  // what ids_ point into
  std::uint32_t next_page_ = 0;
  std::vector<StoredId> ids_;
  std::size_t next_ = 0;
};

// Of several; where two have the same id, the later of them in the list.
class MergedSource : public IdSource {
 public:
  explicit MergedSource(std::vector<std::unique_ptr<IdSource>> sources)
      : sources_(std::move(sources)), is_live_(sources_.size(), true) {}

  absl::StatusOr<bool> Next() override;
  const StoredId& current() const override { return sources_[chosen_]->current(); }

 private:
  absl::Status Advance(std::size_t source);

  std::vector<std::unique_ptr<IdSource>> sources_;
  std::vector<bool> is_live_;
  std::size_t chosen_ = 0;
  bool is_begun_ = false;
};

}  // namespace once::stores
