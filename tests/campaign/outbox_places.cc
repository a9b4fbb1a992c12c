// Names and turns.
#include "tests/campaign/outbox_places.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/test_hooks.h"

namespace once::campaign {

OutboxPlaces::OutboxPlaces(std::string_view book) {
  for (const std::string& point : test_hooks::KillPoints()) {
    for (const std::string_view prefix : {"outbox_relay.", "transact."}) {
      if (point.starts_with(prefix)) points_.push_back(point);
    }
    if (book == "postgres" && point.starts_with("lanes.")) points_.push_back(point);
    for (const std::string_view end :
         {".before_commit", ".committed", ".before_synced_write", ".written_and_synced"}) {
      if (point == absl::StrCat(ToAbsl(book), ToAbsl(end))) points_.push_back(point);
    }
  }
}

std::string OutboxPlaces::Draw(Dice& dice, std::int64_t rows_per_life, OutboxTask& task) {
  const std::string& point = points_[next_point_++ % points_.size()];
  std::int64_t turns = std::max<std::int64_t>(rows_per_life * 2 / kRowsPerTransactionMax, 2);
  if (point.starts_with("outbox_relay.")) {
    task.round_rows_max = 20;
    turns = std::clamp<std::int64_t>(rows_per_life / task.round_rows_max, 2, 40);
  }
  // A life takes lanes a few times only.
  if (point == "lanes.locked") turns = 1;
  return absl::StrCat(point, ":", 1 + dice.Below(turns));
}

std::vector<std::string> OutboxPlaces::FindUnreached() const {
  std::vector<std::string> unreached;
  std::copy_if(points_.begin(), points_.end(), std::back_inserter(unreached),
               [this](const std::string& point) { return !deaths_.contains(point); });
  return unreached;
}

}  // namespace once::campaign
