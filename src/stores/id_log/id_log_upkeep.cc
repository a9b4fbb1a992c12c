// Sealing, merging, expiry: everything that changes which segments and runs count.
#include <algorithm>
#include <limits>
#include <utility>

#include "src/id_hash.h"
#include "src/stores/id_log/id_log.h"
#include "src/stores/id_log/id_source.h"
#include "src/stores/id_log/segments_source.h"

namespace once::stores {

std::unique_ptr<Compaction> IdLog::StartCompaction(bool is_forced) {
  if (is_compacting_ || doubtful_) return nullptr;
  std::unique_ptr<Compaction> compaction = StartSeal(is_forced);
  if (!compaction) compaction = StartMerge();
  is_compacting_ = compaction != nullptr;
  return compaction;
}

bool IdLog::is_upkeep_due() const {
  if (doubtful_ || !runs_to_drop_.empty() || dropped_below_ < version_.manifest.first_segment) {
    return true;
  }
  if (is_compacting_) return false;
  return is_seal_due() || ChooseMerge(version_.manifest.runs, options_.merge).has_value();
}

bool IdLog::is_seal_due() const {
  return unsealed_bytes_ >= options_.seal_bytes || unsealed_.size() >= options_.seal_segments;
}

std::unique_ptr<Compaction> IdLog::StartSeal(bool is_forced) {
  if (unsealed_.empty() || (!is_seal_due() && !is_forced)) return nullptr;
  const std::uint64_t first = version_.manifest.first_segment;
  RunInfo info{.number = next_run_++,
               .first_segment = first,
               .last_segment = first - 1,
               .log_time_min_ms = unsealed_.front().log_time_ms,
               .log_time_max_ms = unsealed_.front().log_time_ms};
  // No more at a time than fits into memory, however much has gathered.
  std::uint64_t bytes = 0;
  for (const Unsealed& segment : unsealed_) {
    if (bytes >= options_.seal_bytes) break;
    bytes += segment.bytes;
    ++info.last_segment;
    info.ids += segment.ids;
    info.log_time_min_ms = std::min(info.log_time_min_ms, segment.log_time_ms);
    info.log_time_max_ms = std::max(info.log_time_max_ms, segment.log_time_ms);
  }
  return std::make_unique<Compaction>(
      Compaction::Plan{
          .info = info, .page_bytes = options_.page_bytes, .filter_bits = options_.filter_bits},
      storage_);
}

std::unique_ptr<Compaction> IdLog::StartMerge() {
  const std::span<const RunInfo> infos = version_.manifest.runs;
  const auto range = ChooseMerge(infos, options_.merge);
  if (!range) return nullptr;
  const std::span<const RunInfo> merged = infos.subspan(range->first, range->size);
  RunInfo info = merged.front();
  info.number = next_run_++;
  info.last_segment = merged.back().last_segment;
  for (const RunInfo& run : merged.subspan(1)) {
    info.ids += run.ids;
    info.log_time_min_ms = std::min(info.log_time_min_ms, run.log_time_min_ms);
    info.log_time_max_ms = std::max(info.log_time_max_ms, run.log_time_max_ms);
  }
  Compaction::Plan plan{
      .info = info, .page_bytes = options_.page_bytes, .filter_bits = options_.filter_bits};
  for (std::size_t i = 0; i < range->size; ++i) {
    plan.runs.push_back(version_.runs[range->first + i]);
  }
  return std::make_unique<Compaction>(std::move(plan), storage_);
}

IdLog::Version IdLog::VersionWith(const Compaction& compaction) const {
  const RunInfo& made = compaction.run_->info();
  Version next{.manifest = version_.manifest};
  next.manifest.runs.clear();
  for (const auto& run : version_.runs) {
    // In the place of those that it stands for.
    const bool is_replaced = run->info().first_segment >= made.first_segment &&
                             run->info().last_segment <= made.last_segment;
    if (!is_replaced) next.runs.push_back(run);
  }
  next.runs.push_back(compaction.run_);
  std::sort(next.runs.begin(), next.runs.end(), [](const auto& a, const auto& b) {
    return a->info().first_segment < b->info().first_segment;
  });
  for (const auto& run : next.runs) next.manifest.runs.push_back(run->info());
  next.manifest.first_segment = next.runs.back()->info().last_segment + 1;
  next.manifest.next_run = next_run_;
  return next;
}

absl::Status IdLog::FinishCompaction(std::unique_ptr<Compaction> compaction) {
  is_compacting_ = false;
  if (compaction->run_ == nullptr) {
    runs_to_drop_.push_back(compaction->plan_.info.number);
    return compaction->status_.ok()
               ? absl::CancelledError("id log: the compaction was given up before its end")
               : compaction->status_;
  }
  return SwitchTo(VersionWith(*compaction));
}

absl::Status IdLog::Expire(std::int64_t log_time_ms) {
  if (is_compacting_) return absl::OkStatus();
  if (absl::Status settled = SettleDoubt(); !settled.ok()) return settled;
  // The oldest first, and no further than the first that stays: what is newer overrides it.
  Version next = version_;
  while (!next.runs.empty() && next.runs.front()->info().log_time_max_ms < log_time_ms) {
    next.runs.erase(next.runs.begin());
    next.manifest.runs.erase(next.manifest.runs.begin());
  }
  for (std::size_t i = 0; next.runs.empty() && i < unsealed_.size(); ++i) {
    if (unsealed_[i].log_time_ms >= log_time_ms) break;
    ++next.manifest.first_segment;
  }
  if (next.manifest == version_.manifest) return absl::OkStatus();
  next.manifest.next_run = next_run_;
  return SwitchTo(std::move(next));
}

absl::Status IdLog::SwitchTo(Version next) {
  absl::Status written = storage_.WriteManifest(EncodeManifest(next.manifest));
  if (written.ok()) {
    Adopt(std::move(next));
  } else if (absl::IsUnknown(written)) {
    doubtful_ = std::move(next);
  } else {
    DropRunsOf(next, version_);
  }
  return written;
}

absl::Status IdLog::SettleDoubt() {
  if (!doubtful_) return absl::OkStatus();
  const auto bytes = storage_.ReadManifest();
  if (!bytes.ok()) return bytes.status();
  Version next = *std::exchange(doubtful_, std::nullopt);
  if (*bytes == EncodeManifest(next.manifest)) {
    Adopt(std::move(next));
  } else {
    DropRunsOf(next, version_);
  }
  return absl::OkStatus();
}

void IdLog::Adopt(Version next) {
  DropRunsOf(version_, next);
  for (std::uint64_t i = version_.manifest.first_segment; i < next.manifest.first_segment; ++i) {
    unsealed_bytes_ -= unsealed_.front().bytes;
    unsealed_.pop_front();
  }
  version_ = std::move(next);
  recent_.MayForgetThrough(version_.manifest.first_segment - 1);
  const std::uint64_t oldest = version_.runs.empty() ? version_.manifest.first_segment
                                                     : version_.manifest.runs.front().first_segment;
  recent_.ForgetThrough(oldest - 1);
}

void IdLog::DropRunsOf(const Version& former, const Version& current) {
  for (const RunInfo& run : former.manifest.runs) {
    const auto& kept = current.manifest.runs;
    if (std::find(kept.begin(), kept.end(), run) == kept.end()) runs_to_drop_.push_back(run.number);
  }
}

absl::StatusOr<bool> IdLog::DropSome(std::size_t max) {
  if (absl::Status settled = SettleDoubt(); !settled.ok()) return settled;
  if (!runs_to_drop_.empty()) {
    const absl::StatusOr<bool> is_gone = storage_.DropPages(runs_to_drop_.front(), max);
    if (!is_gone.ok()) return is_gone;
    if (*is_gone) runs_to_drop_.pop_front();
    return false;
  }
  const std::uint64_t end = version_.manifest.first_segment;
  if (dropped_below_ == end) return true;
  const absl::StatusOr<bool> is_gone = storage_.DropSegments(end, max);
  if (!is_gone.ok()) return is_gone;
  if (*is_gone) dropped_below_ = end;
  return is_gone;
}

absl::Status IdLog::ForEach(
    absl::FunctionRef<absl::Status(const IdKey&, const IdRecord&, std::string_view extra)> visit) {
  std::vector<std::unique_ptr<IdSource>> sources;
  for (const auto& run : version_.runs)
    sources.push_back(std::make_unique<RunSource>(run, storage_));
  if (!unsealed_.empty()) {
    auto segments =
        SegmentsSource::Load(version_.manifest.first_segment, next_segment() - 1, storage_);
    if (!segments.ok()) return segments.status();
    sources.push_back(*std::move(segments));
  }
  MergedSource merged(std::move(sources));
  absl::StatusOr<bool> has_more = merged.Next();
  for (; has_more.ok() && *has_more; has_more = merged.Next()) {
    const StoredId& stored = merged.current();
    const UnpackedId id = Unpack(stored.form, stored.id);
    const IdKey key{.scope = stored.scope, .id = id.id()};
    if (open_.Find(key, HashOf(key)) != nullptr) continue;
    absl::Status visited = visit(key,
                                 {.state = IdState::kCompleted,
                                  .fingerprint = stored.fingerprint,
                                  .attempt = stored.attempt},
                                 "");
    if (!visited.ok()) return visited;
  }
  if (!has_more.ok()) return has_more.status();
  absl::Status visited;
  open_.ForEach([&](const IdKey& key, const OpenRow& row) {
    const bool is_forgotten = row.record.state == IdState::kAbsent && row.extra.empty();
    if (visited.ok() && !is_forgotten) visited = visit(key, row.record, row.extra);
  });
  return visited;
}

IdLogStats IdLog::stats() const {
  IdLogStats stats{.recent_ids = recent_.size(),
                   .recent_bytes = recent_.bytes(),
                   .unsealed_segments = unsealed_.size(),
                   .unsealed_bytes = unsealed_bytes_,
                   .runs = version_.runs.size(),
                   .open_rows = open_.size(),
                   .is_all_recent = is_all_recent()};
  for (const Unsealed& segment : unsealed_) stats.unsealed_ids += segment.ids;
  for (const auto& run : version_.runs) {
    stats.run_ids += run->info().ids;
    const bool is_undated = run->info().log_time_max_ms == kUnknownLogTime;
    if (is_undated) stats.undated_run_ids += run->info().ids;
    stats.run_pages += run->info().pages();
    stats.filter_bytes += run->filter_bytes();
    stats.index_bytes += run->index_bytes();
  }
  return stats;
}

}  // namespace once::stores
