// What a crash test found, as a table and as JSON.
#include <algorithm>
#include <ostream>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "once/testing/crash_test.h"

namespace once::testing {

std::string_view ToString(CrashVerdict verdict) {
  switch (verdict) {
    case CrashVerdict::kFine:
      return "fine";
    case CrashVerdict::kLost:
      return "lost";
    case CrashVerdict::kTwice:
      return "twice";
    case CrashVerdict::kUnannounced:
      return "unannounced";
    case CrashVerdict::kStuck:
      return "stuck";
    case CrashVerdict::kNotRestarted:
      return "not-restarted";
    case CrashVerdict::kWrongState:
      return "wrong-state";
  }
  return "unknown";
}

std::ostream& operator<<(std::ostream& out, const CrashReport& report) {
  if (!report.error.ok()) {
    return out << "crash test: it cannot be run: " << report.error.ToString() << "\n";
  }
  out << "crash test: " << report.messages << " messages, " << report.executions
      << " executions: " << report.singles << " with one fault (all), " << report.pairs;
  if (report.pairs_possible > 0) out << " of " << report.pairs_possible;
  out << " with two\n";
  std::size_t width = 5;
  for (const CrashPoint& point : report.points) width = std::max(width, point.name.size());
  out << absl::StrFormat("%-*s %6s  verdict\n", static_cast<int>(width), "point", "hits");
  for (const CrashPoint& point : report.points) {
    out << absl::StrFormat("%-*s %6d  ", static_cast<int>(width), point.name, point.hits)
        << ToString(point.verdict) << "\n";
  }
  if (!report.never_reached.empty()) {
    out << "never reached: " << absl::StrJoin(report.never_reached, ", ")
        << " (a message that is rejected, or fails once, reaches more)\n";
  }
  if (report.announced_repeats > 0) {
    out << "repeated and announced: " << report.announced_repeats
        << " times the handler ran again after it had succeeded, and maybe_repeated() said so\n";
  }
  if (!report.witness.has_value()) return out;
  const CrashWitness& witness = *report.witness;
  out << "FAILED: " << ToString(witness.verdict) << ": " << witness.what << "\n"
      << "faults: " << (witness.faults.empty() ? "none" : absl::StrJoin(witness.faults, "; "))
      << "\nreplay: .replay = \"" << witness.choices << "\"\nhistory:\n";
  for (const std::string& line : witness.history) out << "  " << line << "\n";
  return out;
}

std::string ToJson(const CrashReport& report) {
  nlohmann::ordered_json json = {{"ok", report.ok()},
                                 {"error", report.error.ok() ? "" : report.error.ToString()},
                                 {"messages", report.messages},
                                 {"executions", report.executions},
                                 {"singles", report.singles},
                                 {"pairs", report.pairs},
                                 {"pairs_possible", report.pairs_possible},
                                 {"announced_repeats", report.announced_repeats},
                                 {"points", nlohmann::ordered_json::array()},
                                 {"never_reached", report.never_reached},
                                 {"witness", nullptr}};
  for (const CrashPoint& point : report.points) {
    json["points"].push_back(
        {{"point", point.name}, {"hits", point.hits}, {"verdict", ToString(point.verdict)}});
  }
  if (report.witness.has_value()) {
    json["witness"] = {{"verdict", ToString(report.witness->verdict)},
                       {"what", report.witness->what},
                       {"faults", report.witness->faults},
                       {"choices", report.witness->choices},
                       {"history", report.witness->history}};
  }
  // Ids and values may be any bytes.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace once::testing
