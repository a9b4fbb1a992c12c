// Words and numbers of the demonstration's result.
#include "src/cli/demo_report.h"

#include <cmath>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "once/abseil.h"

namespace once::demo {
namespace {

constexpr std::size_t kWidth = 98;
constexpr std::size_t kLabelWidth = 13;

std::string Grouped(std::uint64_t number) {
  std::string digits = absl::StrCat(number);
  for (std::size_t end = digits.size(); end > 3; end -= 3) digits.insert(end - 3, ",");
  return digits;
}

std::string Counted(std::uint64_t number, std::string_view singular, std::string_view plural) {
  return absl::StrCat(Grouped(number), " ", ToAbsl(number == 1 ? singular : plural));
}

double MessagesPerSecond(const DemoResult& result) {
  const double seconds = absl::ToDoubleSeconds(result.run.elapsed);
  return seconds > 0 ? static_cast<double>(result.findings.messages) / seconds : 0;
}

// The level, without the reasons and assumptions on the lines that follow it.
std::string Level(const std::string& guarantee) {
  return guarantee.substr(0, guarantee.find('\n'));
}

// The first reason.
std::string Reason(const std::string& guarantee) {
  constexpr std::string_view kMark = "because ";
  const std::size_t at = guarantee.find(kMark);
  if (at == std::string::npos) return "";
  const std::size_t begin = at + kMark.size();
  return guarantee.substr(begin, guarantee.find('\n', begin) - begin);
}

// Lines under a label in the left column, wrapped at blanks.
class Layout {
 public:
  void Blank() { text_.append("\n"); }
  void Add(std::string_view label, std::string_view line) {
    std::string prefix = absl::StrFormat("  %-*s", kLabelWidth, ToAbsl(label));
    std::string row;
    for (const absl::string_view word : absl::StrSplit(ToAbsl(line), ' ', absl::SkipEmpty())) {
      if (!row.empty() && kLabelWidth + 2 + row.size() + 1 + word.size() > kWidth) {
        absl::StrAppend(&text_, prefix, row, "\n");
        prefix.assign(kLabelWidth + 2, ' ');
        row.clear();
      }
      absl::StrAppend(&row, row.empty() ? "" : " ", word);
    }
    absl::StrAppend(&text_, prefix, row, "\n");
  }
  void Raw(std::string_view line) { text_.append(line).append("\n"); }
  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
};

void AddMistakes(const DemoResult& result, Layout& layout) {
  const OrderPlan& plan = result.plan;
  const KillRecord& kills = result.run.kills;
  layout.Add("on purpose",
             absl::StrCat(Counted(plan.copies, "duplicate", "duplicates"),
                          " (same id and value, later; one in three on any partition)"));
  layout.Add("",
             absl::StrCat(Counted(plan.poison, "order", "orders"), " that can never be booked, ",
                          Grouped(plan.flaky), " that fail once or twice"));
  layout.Add("",
             absl::StrCat(Counted(plan.conflicts, "id", "ids"), " used again for another amount"));
  if (kills.kills == 0) return;
  layout.Add("", absl::StrCat(kills.kills, " × kill -9 on the consumer, ", kills.mid_batch,
                              " of them in the middle of a batch: ",
                              Counted(static_cast<std::uint64_t>(kills.undone_effects),
                                      "booked effect", "booked effects"),
                              " were not committed and came to nothing"));
  if (kills.mid_batch < result.run.kills_wanted) {
    layout.Add("", absl::StrCat("(", result.run.kills_wanted,
                                " were wanted: the orders ran out; send more --messages)"));
  }
}

void AddOutcome(const DemoResult& result, Layout& layout) {
  const Findings& findings = result.findings;
  layout.Add("came out", absl::StrCat(Counted(findings.effects, "effect", "effects"),
                                      " booked for ", Grouped(result.plan.bookable()),
                                      " orders; amounts and balances compared one by one"));
  layout.Add("", absl::StrCat(Counted(findings.duplicates_suppressed, "duplicate", "duplicates"),
                              " suppressed, ", Counted(findings.retried, "attempt", "attempts"),
                              " retried"));
  layout.Add("", absl::StrCat(Counted(findings.dead_lettered, "dead letter", "dead letters"),
                              " read back from ", result.run.dead_letter_topic, ", ",
                              Grouped(findings.conflicts), " of them conflicts"));
}

std::string_view NotShown(const DemoRun& run) {
  if (run.is_embedded) {
    return "The broker is librdkafka's mock cluster inside this process: it keeps messages in "
           "memory "
           "on one node and shows nothing about replication, durability of the broker, fencing by "
           "a real group coordinator or Kafka transactions. And kill -9 ends a process, not the "
           "power: what an fsync is worth is up to the disk. For a real cluster: once demo "
           "--brokers HOST:PORT";
  }
  return "No broker was killed, no partition was taken away by another consumer, and the power "
         "stayed on: kill -9 ends a process, and what an fsync is worth is up to the disk.";
}

}  // namespace

std::string RenderJson(const DemoResult& result) {
  const Findings& findings = result.findings;
  const nlohmann::ordered_json json = {
      {"messages", findings.messages},
      {"unique_ids", findings.unique_ids},
      {"effects", findings.effects},
      {"lost", findings.lost},
      {"duplicate_effects", findings.duplicate_effects},
      {"duplicates_suppressed", findings.duplicates_suppressed},
      {"retried", findings.retried},
      {"dead_lettered", findings.dead_lettered},
      {"conflicts", findings.conflicts},
      {"kills", result.run.kills.mid_batch},
      {"guarantee", Level(result.run.guarantee)},
      {"messages_per_second", std::llround(MessagesPerSecond(result))}};
  return json.dump() + "\n";
}

std::string RenderJsonError(const absl::Status& error) {
  const std::string code = absl::AsciiStrToLower(absl::StatusCodeToString(error.code()));
  const nlohmann::ordered_json json = {
      {"error", {{"code", code}, {"message", std::string(error.message())}}}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string RenderSummary(const DemoResult& result, bool is_coloured) {
  const Findings& findings = result.findings;
  const DemoRun& run = result.run;
  Layout layout;
  layout.Raw(absl::StrCat(
      "once demo: orders through ",
      run.is_embedded ? "an embedded Kafka (librdkafka's mock cluster)" : "Kafka at " + run.brokers,
      " into SQLite"));
  layout.Blank();
  layout.Add("sent", absl::StrCat(Counted(findings.messages, "message", "messages"), ", ",
                                  Counted(findings.unique_ids, "order", "different orders")));
  AddMistakes(result, layout);
  layout.Blank();
  AddOutcome(result, layout);
  layout.Blank();
  const std::string_view bold =
      is_coloured ? (findings.is_perfect() ? "\033[1;32m" : "\033[1;31m") : "";
  const std::string_view plain = is_coloured ? "\033[0m" : "";
  layout.Raw(absl::StrFormat("  %-*s%slost %s · duplicate effects %s%s", kLabelWidth, "result",
                             ToAbsl(bold), Grouped(findings.lost),
                             Grouped(findings.duplicate_effects), ToAbsl(plain)));
  for (const std::string& complaint : findings.complaints) layout.Add("", "! " + complaint);
  layout.Add("", absl::StrFormat(
                     "%s messages/s over %.1f s, restarts included",
                     Grouped(static_cast<std::uint64_t>(std::llround(MessagesPerSecond(result)))),
                     absl::ToDoubleSeconds(run.elapsed)));
  if (run.kills.returns > 0) {
    const double seconds =
        absl::ToDoubleSeconds(run.kills.away) / static_cast<double>(run.kills.returns);
    layout.Add("", absl::StrFormat("%.1f s from a kill to the next booking, on average%s", seconds,
                                   run.is_embedded
                                       ? ": the mock cluster is slow to give the partitions of a "
                                         "dead consumer to the next one"
                                       : ""));
  }
  if (!run.kept_store.empty()) layout.Add("", "the store is kept: " + run.kept_store);
  layout.Blank();
  layout.Add("guarantee", absl::StrCat(Level(run.guarantee), ": ", Reason(run.guarantee)));
  layout.Add("not shown", NotShown(run));
  return layout.Take();
}

}  // namespace once::demo
