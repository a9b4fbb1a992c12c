// version, first segment, next run, runs, checksum.
#include "src/stores/id_log/manifest.h"

#include <algorithm>

#include "src/stores/bytes.h"
#include "src/stores/id_log/checksum.h"

namespace once::stores {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint64_t kSeed = 0x6D616E6966657374;  // "manifest"

// So many neighbours of similar size make one.
constexpr std::size_t kRunsMerged = 4;
// Similar: an older one is no more than so many times as large as all younger ones together.
constexpr std::uint64_t kSimilar = 2;

bool IsSound(const Manifest& manifest) {
  std::uint64_t next = manifest.runs.empty() ? 1 : manifest.runs.front().first_segment;
  for (const RunInfo& run : manifest.runs) {
    if (run.first_segment != next || run.last_segment < run.first_segment) return false;
    if (run.number == 0 || run.number >= manifest.next_run || run.ids == 0) return false;
    if (run.id_pages == 0 || run.index_pages == 0 || run.filter_pages == 0) return false;
    if (run.log_time_min_ms > run.log_time_max_ms) return false;
    if (run.pages() > UINT32_MAX || run.last_segment == UINT64_MAX) return false;
    next = run.last_segment + 1;
  }
  return manifest.runs.empty() ? manifest.first_segment > 0 : manifest.first_segment == next;
}

std::int64_t SpanOf(std::span<const RunInfo> runs) {
  std::int64_t min = runs.front().log_time_min_ms;
  std::int64_t max = runs.front().log_time_max_ms;
  for (const RunInfo& run : runs) {
    min = std::min(min, run.log_time_min_ms);
    max = std::max(max, run.log_time_max_ms);
  }
  std::int64_t span = 0;
  return __builtin_sub_overflow(max, min, &span) ? INT64_MAX : span;
}

}  // namespace

std::string EncodeManifest(const Manifest& manifest) {
  std::string out;
  AppendInt(out, kVersion);
  AppendInt(out, manifest.first_segment);
  AppendInt(out, manifest.next_run);
  AppendInt(out, static_cast<std::uint32_t>(manifest.runs.size()));
  for (const RunInfo& run : manifest.runs) {
    AppendInt(out, run.number);
    AppendInt(out, run.first_segment);
    AppendInt(out, run.last_segment);
    AppendInt(out, run.log_time_min_ms);
    AppendInt(out, run.log_time_max_ms);
    AppendInt(out, run.ids);
    AppendInt(out, run.id_pages);
    AppendInt(out, run.index_pages);
    AppendInt(out, run.filter_pages);
  }
  AppendChecksum(out, kSeed);
  return out;
}

absl::StatusOr<Manifest> DecodeManifest(std::string_view bytes) {
  const auto content = WithoutChecksum(bytes, kSeed);
  ByteReader reader(content.value_or(""));
  reader.Require(reader.TakeInt<std::uint8_t>() == kVersion);
  Manifest manifest{.first_segment = reader.TakeInt<std::uint64_t>()};
  manifest.next_run = reader.TakeInt<std::uint32_t>();
  const auto runs = reader.TakeInt<std::uint32_t>();
  for (std::uint32_t i = 0; i < runs && reader.is_ok(); ++i) {
    RunInfo run{.number = reader.TakeInt<std::uint32_t>()};
    run.first_segment = reader.TakeInt<std::uint64_t>();
    run.last_segment = reader.TakeInt<std::uint64_t>();
    run.log_time_min_ms = reader.TakeInt<std::int64_t>();
    run.log_time_max_ms = reader.TakeInt<std::int64_t>();
    run.ids = reader.TakeInt<std::uint64_t>();
    run.id_pages = reader.TakeInt<std::uint32_t>();
    run.index_pages = reader.TakeInt<std::uint32_t>();
    run.filter_pages = reader.TakeInt<std::uint32_t>();
    manifest.runs.push_back(run);
  }
  if (!reader.is_done() || !IsSound(manifest)) {
    return absl::DataLossError("id log: the manifest is not as it was written; restore a backup");
  }
  return manifest;
}

std::optional<RunRange> ChooseMerge(std::span<const RunInfo> runs, const MergeLimits& limits) {
  // From the youngest on, for as long as they are alike.
  std::uint64_t ids = 0;
  std::size_t first = runs.size();
  while (first > 0 && (ids == 0 || runs[first - 1].ids <= kSimilar * ids) &&
         SpanOf(runs.subspan(first - 1)) <= limits.span_max_ms) {
    ids += runs[--first].ids;
  }
  const RunRange alike{.first = first, .size = runs.size() - first};
  if (alike.size >= kRunsMerged) return alike;
  if (runs.size() <= limits.runs_max || runs.size() < 2) return std::nullopt;
  // Too many, and none of them alike: the two neighbours that cost least.
  RunRange cheapest{.first = 0, .size = 2};
  std::uint64_t least = UINT64_MAX;
  for (std::size_t i = 0; i + 1 < runs.size(); ++i) {
    const std::uint64_t cost = runs[i].ids + runs[i + 1].ids;
    if (cost >= least) continue;
    least = cost;
    cheapest.first = i;
  }
  return cheapest;
}

}  // namespace once::stores
