// Runs of settled numbers, and the mark that the first of them allows.
#include "src/stream_progress.h"

#include <algorithm>
#include <iterator>

#include "src/test_hooks.h"

namespace once {

void StreamProgress::Acknowledge(std::uint64_t number, std::int64_t offset) {
  const bool is_known = offset >= 0;
  const bool is_wrong = ONCE_PLANTED_BUG("mark-passes-over-holes");
  for (std::uint64_t before = 1; is_wrong && before < number; ++before) Declare(before);
  const std::int64_t place = is_known ? offset : -1;
  Settle(number, {.last = number,
                  .first_offset = place,
                  .last_offset = place,
                  .begins_anywhere = !is_known,
                  .ends_anywhere = !is_known});
}

void StreamProgress::Declare(std::uint64_t number) { Settle(number, {.last = number}); }

void StreamProgress::Append(Run& front, const Run& back) {
  front.last = back.last;
  if (!back.has_records()) return;
  const bool is_first = !front.has_records();
  if (is_first) front.begins_anywhere = back.begins_anywhere;
  front.ends_anywhere = back.ends_anywhere;
  if (back.last_offset < 0) return;
  front.first_offset =
      front.first_offset < 0 ? back.first_offset : std::min(front.first_offset, back.first_offset);
  front.last_offset = std::max(front.last_offset, back.last_offset);
}

void StreamProgress::Settle(std::uint64_t number, const Run& one) {
  // Mostly there is one run, and this is what comes next in it.
  if (runs_.size() == 1 && runs_.begin()->second.last + 1 == number) {
    Append(runs_.begin()->second, one);
    return Show();
  }
  auto next = runs_.upper_bound(number);
  auto run = next == runs_.begin() ? runs_.end() : std::prev(next);
  if (run != runs_.end() && run->second.last >= number) return;
  if (run != runs_.end() && run->second.last + 1 == number) {
    Append(run->second, one);
  } else {
    run = runs_.emplace_hint(next, number, one);
  }
  if (next != runs_.end() && next->first == number + 1) {
    Append(run->second, next->second);
    runs_.erase(next);
  }
  if (run == runs_.begin()) Show();
}

void StreamProgress::Show() {
  const auto& [first, front] = *runs_.begin();
  if (first != 1 || front.last_offset < 0 || front.ends_anywhere) return;
  mark_ = StreamMark{.last = front.last,
                     .last_offset = front.last_offset,
                     .first_offset = front.begins_anywhere ? 0 : front.first_offset};
}

}  // namespace once
