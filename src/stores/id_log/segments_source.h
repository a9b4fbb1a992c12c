// SegmentsSource: the completed ids of segments in the order of runs, sorted in memory.
// Private to src/stores. Thread-safety: none of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "src/stores/id_log/id_source.h"

namespace once::stores {

// Of several ids that are the same, the newest.
class SegmentsSource : public IdSource {
 public:
  // kDataLoss when one of first … last is missing or damaged.
  static absl::StatusOr<std::unique_ptr<SegmentsSource>> Load(std::uint64_t first,
                                                              std::uint64_t last,
                                                              SegmentStorage& storage);

  absl::StatusOr<bool> Next() override;
  const StoredId& current() const override { return current_; }

 private:
  // Where an id is, with as much of it as decides most comparisons: what is sorted is small, and
  // the ids stay where they are.
  struct Place {
    std::uint64_t head = 0;
    std::uint32_t group = 0;
    std::uint32_t at = 0;
  };

  absl::Status Read(std::uint64_t first, std::uint64_t last, SegmentStorage& storage);
  void Sort();
  void SortKind(std::uint32_t first, std::uint32_t end);
  bool IsSameId(const Place& a, const Place& b) const;

  std::vector<std::unique_ptr<std::string>> segments_;  // what groups_ point into
  std::vector<SegmentGroup> groups_;  // those of one kind behind one another, the oldest first
  std::vector<Place> places_;
  std::size_t next_ = 0;
  StoredId current_;
};

}  // namespace once::stores
