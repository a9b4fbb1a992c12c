// The ranges of one stream, and their bytes.
#include "src/stream_state.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

namespace once {
namespace {

constexpr char kVersion = 1;
constexpr std::uint64_t kHasLosses = 1;
constexpr std::uint64_t kBeginsLater = 2;
constexpr std::uint64_t kFlagsEnd = 4;
constexpr std::uint64_t kNumberMax = std::numeric_limits<std::uint64_t>::max();

// Seven bits a byte, the lowest first; the last byte is below 128.
void AppendVarint(std::string& out, std::uint64_t value) {
  for (; value >= 128; value >>= 7) out.push_back(static_cast<char>((value & 127) | 128));
  out.push_back(static_cast<char>(value));
}

class VarintReader {
 public:
  explicit VarintReader(std::string_view bytes) : rest_(bytes) {}

  std::uint64_t Take() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64 && is_ok_ && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      if (shift == 63 && byte > 1) break;
      value |= static_cast<std::uint64_t>(byte & 127) << shift;
      if (byte < 128) {
        Require(byte != 0 || shift == 0);  // one spelling
        return value;
      }
    }
    is_ok_ = false;
    return 0;
  }
  void Require(bool holds) { is_ok_ = is_ok_ && holds; }
  bool is_ok() const { return is_ok_; }
  bool is_done() const { return is_ok_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool is_ok_ = true;
};

std::uint64_t ZigZag(std::int64_t value) {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}
std::int64_t UnZigZag(std::uint64_t value) {
  return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
}

}  // namespace

bool StreamState::is_waiting() const {
  return std::any_of(missing_.begin(), missing_.end(),
                     [](const MissingRange& range) { return range.kind == MissingKind::kWaiting; });
}

const MissingRange* StreamState::FindMissing(std::uint64_t number) const {
  const auto at =
      std::partition_point(missing_.begin(), missing_.end(),
                           [number](const MissingRange& range) { return range.last < number; });
  return at != missing_.end() && at->first <= number ? &*at : nullptr;
}

bool StreamState::Has(std::uint64_t number) const {
  if (number < begin_ || number > high_) return false;
  return missing_.empty() || FindMissing(number) == nullptr;
}

int StreamState::RangesAddedBy(std::uint64_t number) const {
  if (number > high_) return number - high_ > 1 ? 1 : 0;
  const MissingRange* const range = FindMissing(number);
  if (range == nullptr) return 0;
  return static_cast<int>(range->first < number) + static_cast<int>(number < range->last) - 1;
}

std::uint64_t StreamState::CountMissing() const {
  std::uint64_t count = given_up_;
  for (const MissingRange& range : missing_) {
    if (range.kind == MissingKind::kReported) count += std::min(range.size(), kNumberMax - count);
  }
  return count;
}

template <typename F>
void StreamState::Fill(std::uint64_t first, std::uint64_t last, F&& take) {
  auto at = std::partition_point(missing_.begin(), missing_.end(),
                                 [&](const MissingRange& range) { return range.last < first; });
  while (at != missing_.end() && at->first <= last) {
    MissingRange taken = *at;
    taken.first = std::max(taken.first, first);
    taken.last = std::min(taken.last, last);
    take(taken);
    MissingRange behind = *at;
    behind.first = taken.last + 1;
    const bool has_front = at->first < taken.first;
    const bool has_behind = taken.last < at->last;
    if (has_front && has_behind) {
      at->last = taken.first - 1;
      missing_.insert(at + 1, behind);
      return;
    }
    if (has_front) {
      at->last = taken.first - 1;
      ++at;
    } else if (has_behind) {
      *at = behind;
      return;
    } else {
      at = missing_.erase(at);
    }
  }
}

void StreamState::GiveUpOldest(std::vector<StreamFinding>& findings) {
  // What is excused is of no interest to anybody.
  auto oldest = std::find_if(missing_.begin(), missing_.end(), [](const MissingRange& range) {
    return range.kind == MissingKind::kExcused;
  });
  if (oldest == missing_.end()) oldest = missing_.begin();
  if (oldest->kind == MissingKind::kWaiting) {
    findings.push_back({LossKind::kSuspected, oldest->first, oldest->last});
  }
  if (oldest->kind != MissingKind::kExcused) {
    findings.push_back({LossKind::kGivenUp, oldest->first, oldest->last});
    given_up_ += std::min(oldest->size(), kNumberMax - given_up_);
  }
  missing_.erase(oldest);
}

// Beyond what is missing, or before it.
void StreamState::Miss(MissingRange range, std::size_t ranges_max,
                       std::vector<StreamFinding>& findings) {
  const auto at =
      std::partition_point(missing_.begin(), missing_.end(),
                           [&](const MissingRange& known) { return known.last < range.first; });
  const bool grows_former = at != missing_.begin() && (at - 1)->last + 1 == range.first &&
                            (at - 1)->kind == range.kind && (at - 1)->seen_ms == range.seen_ms;
  if (grows_former) {
    (at - 1)->last = range.last;
  } else {
    missing_.insert(at, range);
  }
  while (missing_.size() > ranges_max) GiveUpOldest(findings);
}

Arrival StreamState::Receive(std::uint64_t number, std::int64_t seen_ms, std::size_t ranges_max,
                             std::vector<StreamFinding>& findings) {
  assert(number > 0);
  if (number < begin_) {
    // Should a mark say that the stream began here, this one has been seen; of those behind it
    // nobody knows.
    if (begin_ - number > 1) {
      Miss({.first = number + 1,
            .last = begin_ - 1,
            .seen_ms = seen_ms,
            .kind = MissingKind::kExcused},
           ranges_max, findings);
    }
    begin_ = number;
    return Arrival::kBefore;
  }
  if (number > high_) {
    if (number - high_ > 1) {
      Miss({.first = high_ + 1, .last = number - 1, .seen_ms = seen_ms}, ranges_max, findings);
    }
    high_ = number;
    return Arrival::kNew;
  }
  if (missing_.empty()) return Arrival::kAgain;
  Arrival arrival = Arrival::kAgain;
  Fill(number, number, [&](const MissingRange& found) {
    arrival = Arrival::kLate;
    if (found.kind == MissingKind::kReported) {
      findings.push_back({LossKind::kRecovered, number, number});
    }
  });
  // One that is split in two may be one too many.
  while (missing_.size() > ranges_max) GiveUpOldest(findings);
  return arrival;
}

void StreamState::Expect(std::uint64_t last, std::int64_t seen_ms, std::size_t ranges_max,
                         std::vector<StreamFinding>& findings) {
  if (last <= high_) return;
  const MissingRange tail{.first = high_ + 1, .last = last, .seen_ms = seen_ms};
  high_ = last;
  Miss(tail, ranges_max, findings);
}

void StreamState::BeginAtOne(std::int64_t seen_ms, std::size_t ranges_max,
                             std::vector<StreamFinding>& findings) {
  if (begin_ == 1) return;
  const MissingRange front{.first = 1, .last = begin_ - 1, .seen_ms = seen_ms};
  begin_ = 1;
  Miss(front, ranges_max, findings);
}

void StreamState::Void(std::uint64_t first, std::uint64_t last, std::size_t ranges_max,
                       std::vector<StreamFinding>& findings) {
  Fill(first, last, [&](const MissingRange& found) {
    if (found.kind == MissingKind::kReported) {
      findings.push_back({LossKind::kRecovered, found.first, found.last});
    }
  });
  if (first <= high_ + 1 && last > high_) high_ = last;
  // One that is split in two may be one too many.
  while (missing_.size() > ranges_max) GiveUpOldest(findings);
}

void StreamState::SkipTo(std::uint64_t next, std::int64_t seen_ms, std::size_t ranges_max) {
  if (next <= high_ || next - high_ == 1) return;
  std::vector<StreamFinding> ignored;
  const MissingRange skipped{
      .first = high_ + 1, .last = next - 1, .seen_ms = seen_ms, .kind = MissingKind::kExcused};
  high_ = next - 1;
  Miss(skipped, ranges_max, ignored);
}

std::uint64_t StreamState::Excuse(std::uint64_t first, std::uint64_t last, std::size_t ranges_max) {
  std::uint64_t reported = 0;
  Ranges excused;
  Fill(first, last, [&](MissingRange found) {
    if (found.kind == MissingKind::kReported) reported += found.size();
    found.kind = MissingKind::kExcused;
    excused.push_back(found);
  });
  for (const MissingRange& range : excused) {
    const auto at =
        std::partition_point(missing_.begin(), missing_.end(),
                             [&](const MissingRange& known) { return known.last < range.first; });
    missing_.insert(at, range);
  }
  std::vector<StreamFinding> ignored;  // excused ones go first, and without a word
  while (missing_.size() > ranges_max) GiveUpOldest(ignored);
  return reported;
}

void StreamState::Forgive(std::size_t ranges_max) {
  const Ranges known = missing_;
  for (const MissingRange& range : known) {
    if (range.kind == MissingKind::kReported) (void)Excuse(range.first, range.last, ranges_max);
  }
  given_up_ = 0;
}

void StreamState::ReportSeenUntil(std::int64_t seen_until_ms,
                                  std::vector<StreamFinding>& findings) {
  for (MissingRange& range : missing_) {
    if (range.kind != MissingKind::kWaiting || range.seen_ms > seen_until_ms) continue;
    range.kind = MissingKind::kReported;
    findings.push_back({LossKind::kSuspected, range.first, range.last});
  }
}

std::string StreamState::EncodeHead() const {
  const bool has_losses = !missing_.empty() || given_up_ != 0;
  std::string out(1, kVersion);
  AppendVarint(out, (has_losses ? kHasLosses : 0) | (begin_ == 1 ? 0 : kBeginsLater));
  AppendVarint(out, era_);
  AppendVarint(out, high_);
  if (begin_ != 1) AppendVarint(out, begin_);
  return out;
}

std::string StreamState::EncodeLosses() const {
  if (missing_.empty() && given_up_ == 0) return {};
  std::string out(1, kVersion);
  AppendVarint(out, given_up_);
  AppendVarint(out, missing_.size());
  std::uint64_t before = 0;
  for (const MissingRange& range : missing_) {
    AppendVarint(out, range.first - before);
    AppendVarint(out, range.last - range.first);
    AppendVarint(out, ZigZag(range.seen_ms));
    AppendVarint(out, static_cast<std::uint64_t>(range.kind));
    before = range.last;
  }
  return out;
}

bool StreamState::HasLosses(std::string_view head) {
  return head.size() > 1 && (static_cast<unsigned char>(head[1]) & kHasLosses) != 0;
}

std::optional<StreamLosses> DecodeLosses(std::string_view bytes) {
  if (bytes.empty() || bytes.front() != kVersion) return std::nullopt;
  VarintReader read(bytes.substr(1));
  StreamLosses losses{.given_up = read.Take()};
  const std::uint64_t count = read.Take();
  read.Require(count <= kMissingRangesMax && (count > 0 || losses.given_up > 0));
  std::uint64_t before = 0;
  for (std::uint64_t i = 0; i < count && read.is_ok(); ++i) {
    const std::uint64_t distance = read.Take();
    const std::uint64_t width = read.Take();
    const std::int64_t seen_ms = UnZigZag(read.Take());
    const std::uint64_t kind = read.Take();
    read.Require(distance > 0 && distance <= kNumberMax - before);
    read.Require(read.is_ok() && width <= kNumberMax - before - distance);
    read.Require(kind <= static_cast<std::uint64_t>(MissingKind::kExcused));
    const std::uint64_t first = before + distance;
    before = first + width;
    losses.missing.push_back({first, before, seen_ms, static_cast<MissingKind>(kind)});
  }
  if (!read.is_done()) return std::nullopt;
  return losses;
}

std::optional<StreamState> StreamState::Decode(std::string_view head, std::string_view losses) {
  if (head.empty() || head.front() != kVersion) return std::nullopt;
  VarintReader read(head.substr(1));
  const std::uint64_t flags = read.Take();
  const std::uint64_t era = read.Take();
  StreamState state;
  state.era_ = static_cast<std::uint32_t>(era);
  state.high_ = read.Take();
  if ((flags & kBeginsLater) != 0) state.begin_ = read.Take();
  read.Require(flags < kFlagsEnd && era == state.era_);
  read.Require(state.begin_ > 0 && state.begin_ - 1 <= state.high_);
  read.Require(((flags & kBeginsLater) != 0) == (state.begin_ != 1));
  read.Require(((flags & kHasLosses) != 0) == !losses.empty());
  if (!read.is_done()) return std::nullopt;
  if (losses.empty()) return state;
  std::optional<StreamLosses> known = DecodeLosses(losses);
  const bool is_inside =
      known && (known->missing.empty() || (known->missing.front().first >= state.begin_ &&
                                           known->missing.back().last <= state.high_));
  if (!is_inside) return std::nullopt;
  state.given_up_ = known->given_up;
  state.missing_ = std::move(known->missing);
  return state;
}

}  // namespace once
