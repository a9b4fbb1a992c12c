// Ranges, split where a row turns up.
#include "adapters/postgres/number_holes.h"

#include <cassert>
#include <iterator>

#include "src/stores/bytes.h"

namespace once::postgres {
namespace {

constexpr char kVersion = 1;

}  // namespace

void NumberHoles::Add(std::int64_t first, std::int64_t last) {
  assert(first <= last);
  holes_.emplace(first, Hole{.last = last});
}

void NumberHoles::Date(std::int64_t transaction) {
  for (auto& [first, hole] : holes_) {
    if (hole.until == kUndated) hole.until = transaction;
  }
}

std::map<std::int64_t, NumberHoles::Hole>::const_iterator NumberHoles::Find(
    std::int64_t number) const {
  const auto behind = holes_.upper_bound(number);
  if (behind == holes_.begin()) return holes_.end();
  const auto found = std::prev(behind);
  return number <= found->second.last ? found : holes_.end();
}

bool NumberHoles::Contains(std::int64_t number) const { return Find(number) != holes_.end(); }

void NumberHoles::Remove(std::int64_t number) {
  const auto found = Find(number);
  if (found == holes_.end()) return;
  const std::int64_t first = found->first;
  const Hole hole = found->second;
  holes_.erase(found);
  if (first < number) holes_.emplace(first, Hole{.last = number - 1, .until = hole.until});
  if (number < hole.last) holes_.emplace(number + 1, hole);
}

void NumberHoles::CloseBefore(std::int64_t oldest_open) {
  std::erase_if(holes_,
                [oldest_open](const auto& entry) { return entry.second.until <= oldest_open; });
}

std::string NumberHoles::Encode() const {
  std::string out(1, kVersion);
  for (const auto& [first, hole] : holes_) {
    stores::AppendInt(out, first);
    stores::AppendInt(out, hole.last);
  }
  return out;
}

absl::StatusOr<NumberHoles> NumberHoles::Decode(std::string_view bytes) {
  stores::ByteReader reader(bytes);
  reader.Require(reader.TakeInt<char>() == kVersion);
  NumberHoles holes;
  std::int64_t before = 0;
  while (reader.is_ok() && !reader.is_done()) {
    const auto first = reader.TakeInt<std::int64_t>();
    const auto last = reader.TakeInt<std::int64_t>();
    reader.Require(first > before && last >= first);
    if (!reader.is_ok()) break;
    holes.Add(first, last);
    before = last;
  }
  if (!reader.is_done()) return absl::DataLossError("not the holes of a lane");
  return holes;
}

}  // namespace once::postgres
