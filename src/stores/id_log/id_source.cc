// Sorting in memory, reading ahead by one page, and a merge that compares all heads: there are few.
#include "src/stores/id_log/id_source.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace once::stores {

std::strong_ordering CompareIds(const StoredId& a, const StoredId& b) {
  if (const auto order = a.scope <=> b.scope; order != 0) return order;
  return RunKey{.form = a.form, .id = a.id} <=> RunKey{.form = b.form, .id = b.id};
}

absl::StatusOr<std::unique_ptr<SegmentsSource>> SegmentsSource::Load(std::uint64_t first,
                                                                     std::uint64_t last,
                                                                     SegmentStorage& storage) {
  auto source = std::make_unique<SegmentsSource>();
  std::vector<Segment> segments;
  std::size_t size = 0;
  const absl::Status read = storage.ForEachSegment(
      first, last, [&](std::uint64_t number, std::string_view bytes) -> absl::Status {
        if (number != first + source->segments_.size()) return absl::OkStatus();
        auto& kept = source->segments_.emplace_back(std::make_unique<std::string>(bytes));
        const auto segment = Segment::Read(number, *kept);
        if (!segment.ok()) return segment.status();
        size += segment->size();
        segments.push_back(*segment);
        return absl::OkStatus();
      });
  if (!read.ok()) return read;
  if (source->segments_.size() != last - first + 1) {
    return absl::DataLossError(absl::StrCat("id log: segment ", first + source->segments_.size(),
                                            " is missing; restore a backup"));
  }
  std::vector<StoredId>& ids = source->ids_;
  ids.reserve(size);  // to grow them would touch as much memory again
  for (const Segment& segment : segments) {
    segment.ForEach([&](const StoredId& id) { ids.push_back(id); });
  }
  std::stable_sort(ids.begin(), ids.end(),
                   [](const StoredId& a, const StoredId& b) { return CompareIds(a, b) < 0; });
  // The last of those that are equal is the newest.
  const auto oldest = std::unique(
      ids.rbegin(), ids.rend(), [](const auto& a, const auto& b) { return CompareIds(a, b) == 0; });
  ids.erase(ids.begin(), oldest.base());
  return source;
}

absl::StatusOr<bool> RunSource::Next() {
  if (++next_ <= ids_.size()) return true;
  if (next_page_ == run_->info().id_pages) return false;
  auto page = run_->ReadIdPage(next_page_, storage_);
  if (!page.ok()) return page.status();
  ++next_page_;
  page_ = *std::move(page);
  ids_.clear();
  page_->ForEach([&](const RunEntry& entry) {
    ids_.push_back({.scope = run_->scope(entry.key.scope),
                    .form = entry.key.form,
                    .id = entry.key.id,
                    .fingerprint = entry.fingerprint,
                    .attempt = entry.attempt});
  });
  next_ = 1;
  return true;
}

absl::Status MergedSource::Advance(std::size_t source) {
  const absl::StatusOr<bool> is_live = sources_[source]->Next();
  if (!is_live.ok()) return is_live.status();
  is_live_[source] = *is_live;
  return absl::OkStatus();
}

absl::StatusOr<bool> MergedSource::Next() {
  // Whoever stood where the last answer stood goes on.
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (!is_live_[i] || (is_begun_ && i == chosen_)) continue;
    if (is_begun_ && CompareIds(sources_[i]->current(), current()) != 0) continue;
    if (absl::Status advanced = Advance(i); !advanced.ok()) return advanced;
  }
  if (is_begun_ && is_live_[chosen_]) {
    if (absl::Status advanced = Advance(chosen_); !advanced.ok()) return advanced;
  }
  is_begun_ = true;
  bool is_any = false;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (!is_live_[i]) continue;
    // The later one wins a tie.
    if (!is_any || CompareIds(sources_[i]->current(), current()) <= 0) chosen_ = i;
    is_any = true;
  }
  return is_any;
}

}  // namespace once::stores
