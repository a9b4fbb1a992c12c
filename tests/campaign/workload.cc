// What lies at a place, and the message it becomes.
#include "tests/campaign/workload.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace once::campaign {
namespace {

constexpr std::int64_t kOneInHowManyIsCopy = 20;
constexpr std::size_t kValueBytes = 100;
// A copy comes at most so many rows of its partition after what it repeats.
constexpr std::int64_t kCopyRowsMax = 500;
// A conflict comes at most so many rows after what it contradicts.
constexpr std::uint64_t kConflictRowsMax = 40;

enum class Oddity { kNone, kFailsOnce, kRejected, kExhausted, kConflict, kNoId, kSkipped };

Oddity OddityAt(const Workload& workload, std::int64_t place) {
  const std::uint64_t drawn = Draw(workload.seed, static_cast<std::uint64_t>(place));
  switch (drawn % static_cast<std::uint64_t>(workload.odd_one_in)) {
    case 0:
    case 1:
      return Oddity::kFailsOnce;
    case 2:
    case 3:
      return Oddity::kRejected;
    case 4:
      return Oddity::kExhausted;
    case 5:
      return Oddity::kConflict;
    case 6:
      return Oddity::kNoId;
    case 7:
      return Oddity::kSkipped;
    default:
      return Oddity::kNone;
  }
}

std::string ValueOf(char kind, std::int64_t number, std::string_view version) {
  std::string value(1, kind);
  absl::StrAppend(&value, " o-", number, " ", std::string(version));
  value.resize(std::max(value.size(), kValueBytes), '.');
  return value;
}

bool IsCopy(const Workload& workload, std::int64_t place) {
  return workload.has_copies &&
         place / workload.partitions % kOneInHowManyIsCopy == kOneInHowManyIsCopy - 1;
}

OutgoingMessage MessageAt(const Workload& workload, const std::string& topic, std::int64_t place) {
  const auto partition = static_cast<std::int32_t>(place % workload.partitions);
  std::int64_t number = place;
  if (IsCopy(workload, place)) {
    const std::int64_t back = std::min(place, kCopyRowsMax * workload.partitions);
    const std::uint64_t drawn = Draw(~workload.seed, static_cast<std::uint64_t>(place));
    number = place - 1 - static_cast<std::int64_t>(drawn % static_cast<std::uint64_t>(back));
    if (IsCopy(workload, number)) number -= workload.partitions;
  }
  const Oddity oddity = OddityAt(workload, number);
  std::string version = "first";
  char kind = 'p';
  if (oddity == Oddity::kFailsOnce) kind = 'f';
  if (oddity == Oddity::kRejected) kind = 'r';
  if (oddity == Oddity::kExhausted) kind = 'x';
  if (oddity == Oddity::kSkipped) kind = 's';
  const std::uint64_t rows_back =
      1 + Draw(workload.seed ^ 1, static_cast<std::uint64_t>(place)) % kConflictRowsMax;
  const std::int64_t before = number - workload.partitions * static_cast<std::int64_t>(rows_back);
  const bool is_conflict = oddity == Oddity::kConflict && workload.has_copies && number == place &&
                           before >= 0 && !IsCopy(workload, before) &&
                           OddityAt(workload, before) == Oddity::kNone;
  if (is_conflict) {
    number = before;
    version = "another";
  }
  OutgoingMessage message{.topic = topic, .partition = partition};
  message.value = ValueOf(kind, number, version);
  const bool has_id = oddity != Oddity::kNoId || number != place;
  if (has_id) message.headers.push_back({kIdHeader, absl::StrCat("o-", number)});
  return message;
}

}  // namespace

std::uint64_t Draw(std::uint64_t seed, std::uint64_t number) {
  std::uint64_t drawn = seed * 0x9e3779b97f4a7c15ULL + number + 1;
  drawn = (drawn ^ drawn >> 30) * 0xbf58476d1ce4e5b9ULL;
  drawn = (drawn ^ drawn >> 27) * 0x94d049bb133111ebULL;
  return drawn ^ drawn >> 31;
}

std::vector<OutgoingMessage> MessagesOf(const Workload& workload, const std::string& topic,
                                        std::int64_t first, std::int64_t count) {
  std::vector<OutgoingMessage> messages;
  messages.reserve(static_cast<std::size_t>(count));
  for (std::int64_t place = first; place < first + count; ++place) {
    messages.push_back(MessageAt(workload, topic, place));
  }
  return messages;
}

std::optional<char> KindOf(std::string_view value) {
  constexpr std::string_view kKinds = "pfrxs";
  const bool is_ours = value.substr(1).starts_with(" o-") && kKinds.find(value[0]) != kKinds.npos;
  return is_ours ? std::optional(value.front()) : std::nullopt;
}

}  // namespace once::campaign
