// Rows by their names, and orders to their next owner.
#include "src/cli/commands/position_command.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "once/abseil.h"
#include "src/cli/commands/plain_bytes.h"

namespace once::cli {
namespace {

using nlohmann::ordered_json;

std::string_view NameOf(PositionDirective directive) {
  switch (directive) {
    case PositionDirective::kNone:
      return "none";
    case PositionDirective::kSet:
      return "set";
    case PositionDirective::kAdopt:
      return "adopt";
    case PositionDirective::kEarliest:
      return "earliest";
    case PositionDirective::kLatest:
      return "latest";
  }
  return "unknown";
}

// The selector's names as the store knows them.
struct Names {
  std::optional<std::string> topic;
  std::optional<std::string> group;
  std::optional<std::string> cluster;
};

absl::StatusOr<Names> ReadNames(const PositionSelector& selector) {
  Names names;
  const auto read = [](const std::string& shown, std::optional<std::string>& to) {
    if (shown.empty()) return true;
    to = ReadBytes(shown);
    return to.has_value();
  };
  if (!read(selector.topic, names.topic) || !read(selector.group, names.group) ||
      !read(selector.cluster, names.cluster)) {
    return absl::InvalidArgumentError("what follows hex: is no hexadecimal");
  }
  return names;
}

std::vector<StoredPosition> Select(std::vector<StoredPosition> rows, const Names& names,
                                   std::optional<std::int32_t> partition) {
  std::erase_if(rows, [&](const StoredPosition& row) {
    return (names.topic && row.key.partition.topic != *names.topic) ||
           (names.group && row.key.group != *names.group) ||
           (names.cluster && row.key.cluster != *names.cluster) ||
           (partition && row.key.partition.partition != *partition);
  });
  return rows;
}

std::string ShowTime(std::int64_t timestamp_ms) {
  if (timestamp_ms < 0) return "unknown";
  return absl::FormatTime(absl::RFC3339_sec, absl::FromUnixMillis(timestamp_ms),
                          absl::UTCTimeZone());
}

ordered_json Describe(const StoredPosition& row) {
  ordered_json applied;
  if (row.last_applied) {
    applied = {{"offset", row.last_applied->offset},
               {"timestamp_ms", row.last_applied->timestamp_ms},
               {"log_time_ms", row.last_applied->log_time_ms}};
  }
  return {{"cluster", ShowBytes(row.key.cluster)},
          {"group", ShowBytes(row.key.group)},
          {"topic", ShowBytes(row.key.partition.topic)},
          {"partition", row.key.partition.partition},
          {"position", row.stamp.position},
          {"reach", row.reach},
          {"revision", row.stamp.revision},
          {"last_applied", std::move(applied)},
          {"directive", NameOf(row.directive)}};
}

std::string ShowPlace(const PartitionKey& key) {
  return absl::StrCat(ShowBytes(key.partition.topic), "[", key.partition.partition, "] of group ",
                      ShowBytes(key.group));
}

using GroupOfCluster = std::pair<std::string, std::string>;  // cluster, group

// Whose row is meant where the flags leave it open: the one group that works on this topic.
absl::StatusOr<PartitionKey> FindKey(const std::vector<StoredPosition>& rows, const Names& names,
                                     const PositionSelector& selector) {
  PartitionKey key{.cluster = names.cluster.value_or(""),
                   .group = names.group.value_or(""),
                   .partition = {*names.topic, *selector.partition}};
  std::set<GroupOfCluster> candidates;
  // The partition's own rows, else its topic's: a partition that was added has none yet.
  for (const auto& partition : {selector.partition, std::optional<std::int32_t>()}) {
    for (const StoredPosition& row : Select(rows, names, partition)) {
      candidates.insert({row.key.cluster, row.key.group});
    }
    if (!candidates.empty()) break;
  }
  if (candidates.empty() && names.group && names.cluster) return key;
  if (candidates.empty()) {
    return absl::NotFoundError(absl::StrCat(
        "the store has no row for ", selector.topic,
        names.group ? absl::StrCat(" of group ", selector.group) : "",
        "; `once position show` lists what it has, and --group with --cluster makes a new row"));
  }
  if (candidates.size() > 1) {
    const std::string list =
        absl::StrJoin(candidates, ", ", [](std::string* out, const GroupOfCluster& candidate) {
          absl::StrAppend(out, "--group ", ShowBytes(candidate.second), " --cluster ",
                          ShowBytes(candidate.first));
        });
    return absl::InvalidArgumentError(
        absl::StrCat("several groups work on ", selector.topic, "; say which: ", list));
  }
  std::tie(key.cluster, key.group) = *candidates.begin();
  return key;
}

// Why a person should think again; empty where nothing can be lost by it.
std::string FindRisk(const StoredPosition* row, const PositionWish& wish) {
  switch (wish.directive) {
    case PositionDirective::kLatest:
      return "every message that is not handled yet is skipped";
    case PositionDirective::kAdopt:
      return "messages between the stored position and the group's committed offset are skipped";
    case PositionDirective::kSet:
      if (row == nullptr) return "messages before that offset are not handled";
      if (wish.position > row->stamp.position) {
        return absl::StrCat("up to ", wish.position - row->stamp.position, " messages from offset ",
                            row->stamp.position, " on are skipped");
      }
      return "";
    default:
      return "";
  }
}

std::string SayWhatHappens(const CommandContext& context, const PositionWish& wish) {
  std::string where;
  switch (wish.directive) {
    case PositionDirective::kEarliest:
      where = "with the oldest message there is";
      break;
    case PositionDirective::kLatest:
      where = "with the next message to come";
      break;
    case PositionDirective::kAdopt:
      where = "at the group's committed offset";
      break;
    default:
      where = absl::StrCat("at offset ", wish.position);
  }
  return context.is_running
             ? absl::StrCat("the running consumer goes on ", where,
                            " at its next idle audit (times.idle_audit, 30 s by default)")
             : absl::StrCat("the next consumer of the group goes on ", where);
}

}  // namespace

absl::StatusOr<PositionWish> ReadPositionWish(const std::string& text) {
  if (text == "earliest") return PositionWish{.directive = PositionDirective::kEarliest};
  if (text == "latest") return PositionWish{.directive = PositionDirective::kLatest};
  PositionWish wish;
  if (!absl::SimpleAtoi(text, &wish.position) || wish.position < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("OFFSET is \"", text, "\"; give a number from 0, or earliest, or latest"));
  }
  return wish;
}

Report ShowPositions(CommandContext& context, const PositionSelector& selector) {
  const absl::StatusOr<Names> names = ReadNames(selector);
  if (!names.ok()) return ReportError(names.status());
  absl::StatusOr<std::vector<StoredPosition>> rows = context.operations.ListPositions();
  if (!rows.ok()) return ReportError(rows.status());
  const bool is_filtered =
      names->topic || names->group || names->cluster || selector.partition.has_value();
  const std::vector<StoredPosition> chosen = Select(*std::move(rows), *names, selector.partition);
  if (chosen.empty() && is_filtered) {
    return ReportError(absl::NotFoundError(absl::StrCat("the store at ", context.store,
                                                        " has no such row; `once position show` "
                                                        "without a topic lists all")));
  }
  Report report;
  ordered_json positions = ordered_json::array();
  Table table(
      {"GROUP", "TOPIC", "PARTITION", "POSITION", "REACH", "LAST APPLIED", "ORDER", "CLUSTER"});
  for (const StoredPosition& row : chosen) {
    positions.push_back(Describe(row));
    table.Add({ShowBytes(row.key.group), ShowBytes(row.key.partition.topic),
               absl::StrCat(row.key.partition.partition), absl::StrCat(row.stamp.position),
               absl::StrCat(row.reach),
               row.last_applied ? absl::StrCat(row.last_applied->offset, " of ",
                                               ShowTime(row.last_applied->timestamp_ms))
                                : "-",
               std::string(NameOf(row.directive)), ShowBytes(row.key.cluster)});
  }
  report.document = {
      {"store", context.store}, {"complete", true}, {"positions", std::move(positions)}};
  report.text = table.Render();
  if (table.is_empty()) report.notes.push_back("the store has no positions yet");
  return report;
}

Report OrderPosition(CommandContext& context, const PositionSelector& selector,
                     const PositionWish& wish) {
  const absl::StatusOr<Names> names = ReadNames(selector);
  if (!names.ok()) return ReportError(names.status());
  const absl::StatusOr<std::vector<StoredPosition>> rows = context.operations.ListPositions();
  if (!rows.ok()) return ReportError(rows.status());
  const absl::StatusOr<PartitionKey> key = FindKey(*rows, *names, selector);
  if (!key.ok()) return ReportError(key.status());
  const auto row = std::find_if(rows->begin(), rows->end(),
                                [&](const StoredPosition& each) { return each.key == *key; });
  const StoredPosition* former = row == rows->end() ? nullptr : &*row;
  const std::string risk = FindRisk(former, wish);
  if (!risk.empty() && !context.confirm(absl::StrCat("Move ", ShowPlace(*key), "? ", risk))) {
    return ReportError(absl::FailedPreconditionError(
        absl::StrCat(ShowPlace(*key), " was not moved: ", risk, "; add --yes if that is meant")));
  }
  const absl::Status ordered = context.operations.OrderPosition({.key = *key,
                                                                 .directive = wish.directive,
                                                                 .position = wish.position,
                                                                 .writer = context.random.Next()});
  if (!ordered.ok()) return ReportError(ordered);
  Report report;
  const std::string next = SayWhatHappens(context, wish);
  report.document = {
      {"store", context.store},
      {"action", wish.directive == PositionDirective::kAdopt ? "position adopt" : "position set"},
      {"cluster", ShowBytes(key->cluster)},
      {"group", ShowBytes(key->group)},
      {"topic", ShowBytes(key->partition.topic)},
      {"partition", key->partition.partition},
      {"former_position",
       former == nullptr ? ordered_json() : ordered_json(former->stamp.position)},
      {"directive", NameOf(wish.directive)},
      {"position",
       wish.directive == PositionDirective::kSet ? ordered_json(wish.position) : ordered_json()},
      {"next", next}};
  report.text = absl::StrCat(ShowPlace(*key), ": ", next, "\n");
  return report;
}

}  // namespace once::cli
