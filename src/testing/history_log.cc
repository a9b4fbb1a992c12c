// Reads the fields of the engine's events.
#include "src/testing/history_log.h"

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::testing {
namespace {

std::string FieldOf(const LogEvent& event, std::string_view name) {
  for (const LogField& field : event.fields) {
    if (field.name == name) return field.value;
  }
  return "";
}

}  // namespace

LogLevel HistoryLog::level() const {
  return checker_.is_recording() ? LogLevel::kDebug : LogLevel::kError;
}

void HistoryLog::Log(const LogEvent& event) {
  const std::string number = FieldOf(event, "messaging.destination.partition.id");
  const int partition = number.empty() ? -1 : std::atoi(number.c_str());
  if (checker_.is_recording()) {
    const std::string line = event.message.substr(0, event.message.find('\n'));
    checker_.Record(who_, absl::StrCat("says ", ToAbsl(event.action), ": ", line), partition,
                    FieldOf(event, "once.id"));
  }
  if (event.action == "loss_suspected" && misses_nothing_) {
    checker_.Fail(Check::kLosses,
                  absl::StrCat("a message is missed that is there: ", event.message), partition);
  }
  const std::string first = FieldOf(event, "once.gap.first");
  const bool is_told = event.action == "gap" || event.action == "partition_stopped";
  if (!is_told || first.empty()) return;
  on_gap_({.partition = partition,
           .first = std::atoll(first.c_str()),
           .end = std::atoll(FieldOf(event, "once.gap.end").c_str())});
}

}  // namespace once::testing
