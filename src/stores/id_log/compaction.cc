// Read and sort, merge and write, read again.
#include "src/stores/id_log/compaction.h"

#include <utility>

#include "src/stores/id_log/segments_source.h"

namespace once::stores {

Compaction::Compaction(Plan plan, SegmentStorage& storage)
    : plan_(std::move(plan)),
      storage_(storage),
      writer_(plan_.info.number, plan_.info.ids, plan_.page_bytes, plan_.filter_bits) {}

absl::Status Compaction::Begin() {
  if (plan_.runs.empty()) {
    auto segments =
        SegmentsSource::Load(plan_.info.first_segment, plan_.info.last_segment, storage_);
    if (!segments.ok()) return segments.status();
    source_ = *std::move(segments);
    return absl::OkStatus();
  }
  std::vector<std::unique_ptr<IdSource>> sources;
  for (const auto& run : plan_.runs) sources.push_back(std::make_unique<RunSource>(run, storage_));
  source_ = std::make_unique<MergedSource>(std::move(sources));
  return absl::OkStatus();
}

absl::Status Compaction::WriteReady() {
  const std::vector<std::string> pages = writer_.TakePages();
  if (pages.empty()) return absl::OkStatus();
  absl::Status wrote = storage_.WritePages(plan_.info.number, written_, pages);
  written_ += static_cast<std::uint32_t>(pages.size());
  return wrote;
}

void Compaction::GiveUp(absl::Status why) {
  status_ = std::move(why);
  run_.reset();
}

absl::Status Compaction::Step(std::size_t bytes) {
  if (is_over()) return status_;
  if (source_ == nullptr) return status_ = Begin();
  if (!is_finished_) {
    while (writer_.ready_bytes() < bytes) {
      const absl::StatusOr<bool> has_more = source_->Next();
      if (!has_more.ok()) return status_ = has_more.status();
      if (!*has_more) {
        writer_.Finish();
        is_finished_ = true;
        break;
      }
      writer_.Add(source_->current());
    }
    return status_ = WriteReady();
  }
  RunInfo info = plan_.info;
  info.ids = writer_.info().ids;
  info.id_pages = writer_.info().id_pages;
  info.index_pages = writer_.info().index_pages;
  info.filter_pages = writer_.info().filter_pages;
  auto run = SortedRun::Open(info, storage_);
  if (!run.ok()) return status_ = run.status();
  run_ = *std::move(run);
  return absl::OkStatus();
}

}  // namespace once::stores
