// Ids are sorted kind by kind, where a kind is what they have in common that comes before their
// bytes in the order: scope, form and width. So only bytes are compared, of most ids eight.
#include "src/stores/id_log/segments_source.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"

namespace once::stores {
namespace {

constexpr std::size_t kHeadBytes = sizeof(std::uint64_t);

auto KindOf(const SegmentGroup& group) { return std::tuple(group.scope, group.form, group.width); }

// In the order of the bytes; what is missing counts as zero.
std::uint64_t HeadOf(std::string_view bytes) {
  std::uint64_t head = 0;
  for (std::size_t i = 0; i < kHeadBytes; ++i) {
    head = head << 8 | (i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0U);
  }
  return head;
}

// How many bytes all ids of groups of one kind begin with.
std::size_t CommonPrefix(std::span<const SegmentGroup> groups) {
  const std::string_view sample = groups.front().id(0);
  std::size_t common = sample.size();
  for (const SegmentGroup& group : groups) {
    for (std::size_t at = 0; at < group.size() && common > 0; ++at) {
      const std::string_view id = group.id(at);
      const auto end = sample.begin() + static_cast<std::ptrdiff_t>(common);
      common = static_cast<std::size_t>(std::mismatch(sample.begin(), end, id.begin()).first -
                                        sample.begin());
    }
  }
  return common;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SegmentsSource>> SegmentsSource::Load(std::uint64_t first,
                                                                     std::uint64_t last,
                                                                     SegmentStorage& storage) {
  auto source = std::make_unique<SegmentsSource>();
  if (absl::Status read = source->Read(first, last, storage); !read.ok()) return read;
  source->Sort();
  return source;
}

absl::Status SegmentsSource::Read(std::uint64_t first, std::uint64_t last,
                                  SegmentStorage& storage) {
  absl::Status read = storage.ForEachSegment(
      first, last, [&](std::uint64_t number, std::string_view bytes) -> absl::Status {
        if (number != first + segments_.size()) return absl::OkStatus();
        const auto& kept = segments_.emplace_back(std::make_unique<std::string>(bytes));
        const auto segment = Segment::Read(number, *kept);
        if (!segment.ok()) return segment.status();
        groups_.insert(groups_.end(), segment->groups().begin(), segment->groups().end());
        return absl::OkStatus();
      });
  if (read.ok() && segments_.size() != last - first + 1) {
    read = absl::DataLossError(absl::StrCat("id log: segment ", first + segments_.size(),
                                            " is missing; restore a backup"));
  }
  return read;
}

void SegmentsSource::Sort() {
  std::stable_sort(groups_.begin(), groups_.end(),
                   [](const auto& a, const auto& b) { return KindOf(a) < KindOf(b); });
  std::size_t size = 0;
  for (const SegmentGroup& group : groups_) size += group.size();
  places_.reserve(size);  // to grow them would touch as much memory again
  for (std::uint32_t first = 0, end = 0; first < groups_.size(); first = end) {
    while (end < groups_.size() && KindOf(groups_[end]) == KindOf(groups_[first])) ++end;
    SortKind(first, end);
  }
}

void SegmentsSource::SortKind(std::uint32_t first, std::uint32_t end) {
  const std::size_t common =
      CommonPrefix(std::span(groups_).subspan(first, std::size_t{end} - first));
  const auto begin = static_cast<std::ptrdiff_t>(places_.size());
  for (std::uint32_t group = first; group < end; ++group) {
    for (std::uint32_t at = 0; at < groups_[group].size(); ++at) {
      const std::uint64_t head = HeadOf(groups_[group].id(at).substr(common));
      places_.push_back({.head = head, .group = group, .at = at});
    }
  }
  const bool is_head_all = groups_[first].width <= common + kHeadBytes;
  std::sort(places_.begin() + begin, places_.end(), [&](const Place& a, const Place& b) {
    if (a.head != b.head) return a.head < b.head;
    const int rest = is_head_all ? 0 : groups_[a.group].id(a.at).compare(groups_[b.group].id(b.at));
    return rest != 0 ? rest < 0 : a.group < b.group;
  });
}

bool SegmentsSource::IsSameId(const Place& a, const Place& b) const {
  return a.head == b.head && KindOf(groups_[a.group]) == KindOf(groups_[b.group]) &&
         groups_[a.group].id(a.at) == groups_[b.group].id(b.at);
}

absl::StatusOr<bool> SegmentsSource::Next() {
  constexpr std::size_t kAhead = 16;
  if (next_ == places_.size()) return false;
  // The last of those that are the same is the newest.
  while (next_ + 1 < places_.size() && IsSameId(places_[next_], places_[next_ + 1])) ++next_;
  if (next_ + kAhead < places_.size()) {
    const Place& ahead = places_[next_ + kAhead];
    groups_[ahead.group].Prefetch(ahead.at);
  }
  const Place& place = places_[next_++];
  current_ = groups_[place.group][place.at];
  return true;
}

}  // namespace once::stores
