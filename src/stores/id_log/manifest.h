// The manifest says what of a log counts: which segments are live, and which sorted runs stand for
// those before. It is one value, replaced at once.
// Private to src/stores. Thread-safety: values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace once::stores {

// A run stands for the segments `first_segment` to `last_segment`. Its pages: first those of ids,
// then those of its index, then those of its filter.
struct RunInfo {
  std::uint32_t number = 0;
  std::uint64_t first_segment = 0;
  std::uint64_t last_segment = 0;
  // Of its segments. The greatest decides when it expires.
  std::int64_t log_time_min_ms = 0;
  std::int64_t log_time_max_ms = 0;
  std::uint64_t ids = 0;
  std::uint32_t id_pages = 0;
  std::uint32_t index_pages = 0;
  std::uint32_t filter_pages = 0;

  std::uint64_t pages() const { return std::uint64_t{id_pages} + index_pages + filter_pages; }
  friend bool operator==(const RunInfo&, const RunInfo&) = default;
};

struct Manifest {
  std::uint64_t first_segment = 1;  // live from here on; those before are sealed or expired
  std::uint32_t next_run = 1;       // numbers are not used again
  std::vector<RunInfo> runs;        // oldest first; each begins where the one before ends

  friend bool operator==(const Manifest&, const Manifest&) = default;
};

std::string EncodeManifest(const Manifest& manifest);
// kDataLoss for anything else.
absl::StatusOr<Manifest> DecodeManifest(std::string_view bytes);

// Runs that are next to each other, by index.
struct RunRange {
  std::size_t first = 0;
  std::size_t size = 0;

  friend bool operator==(const RunRange&, const RunRange&) = default;
};

struct MergeLimits {
  std::size_t runs_max = 8;
  // Runs whose log times would then be further apart are not merged, if it can be helped: a run
  // expires as a whole.
  std::int64_t span_max_ms = std::numeric_limits<std::int64_t>::max();
};

// What to merge next. Neighbours of similar size: so each id is written a logarithm's number of
// times, and there are never more than `runs_max` for long.
std::optional<RunRange> ChooseMerge(std::span<const RunInfo> runs, const MergeLimits& limits);

}  // namespace once::stores
