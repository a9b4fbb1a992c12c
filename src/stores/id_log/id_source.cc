// Reading ahead by one page, and a merge that compares all heads: there are few.
#include "src/stores/id_log/id_source.h"

namespace once::stores {

std::strong_ordering CompareIds(const StoredId& a, const StoredId& b) {
  if (const auto order = a.scope <=> b.scope; order != 0) return order;
  return RunKey{.form = a.form, .id = a.id} <=> RunKey{.form = b.form, .id = b.id};
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
