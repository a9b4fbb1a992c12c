// Sessions by SQL, the rest from what a Scene reads anyway.
#include "tests/campaign/unsettled.h"

#include <algorithm>
#include <deque>
#include <fstream>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "adapters/postgres/tests/test_server.h"
#include "once/abseil.h"
#include "tests/campaign/history.h"
#include "tests/campaign/postgres_kind.h"

namespace once::campaign {
namespace {

constexpr std::size_t kShownMax = 20;

// @ is the schema. A lock is known by the hashes of what it is for and of the schema.
constexpr const char* kSessions =
    "SELECT a.pid, left(a.application_name, 60), coalesce(a.state, '-'), "
    "coalesce(a.wait_event_type || ' ' || a.wait_event, 'nothing'), "
    "round(extract(epoch FROM clock_timestamp() - a.state_change)::numeric, 1) || ' s', "
    "pg_blocking_pids(a.pid)::text, "
    "coalesce((SELECT string_agg(w.name || CASE WHEN l.granted THEN '' ELSE ' (waits)' END, ', ') "
    "FROM pg_locks l JOIN unnest(ARRAY['once relay', 'once upkeep', 'once ids']) AS w(name) ON "
    "l.classid = hashtext(w.name)::oid AND l.objid = hashtext('@')::oid WHERE l.locktype = "
    "'advisory' AND l.pid = a.pid), 'none'), left(a.query, 100) FROM pg_stat_activity a WHERE "
    "a.datname = current_database() AND a.application_name LIKE 'once:' || left('@', 40) || ':%' "
    "ORDER BY a.pid";

std::string Shortened(const std::vector<std::string>& items) {
  const std::size_t shown = std::min(items.size(), kShownMax);
  std::string text =
      absl::StrJoin(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(shown), ", ");
  if (items.size() > shown) absl::StrAppend(&text, " and ", items.size() - shown, " more");
  return text;
}

}  // namespace

std::string DescribeSessions(const std::string& place) {
  const auto [connection, schema] = PlaceOf(place);
  if (schema.empty()) return {};
  std::string text;
  for (const auto& row :
       postgres::testing::RunSql(connection, absl::StrReplaceAll(kSessions, {{"@", schema}}))) {
    absl::StrAppend(&text, "    session ", row[0], " of ", row[1], ": ", row[2], " for ", row[4],
                    ", waits for ", row[3], ", behind ", row[5], ", holds ", row[6], ": ", row[7],
                    "\n");
  }
  return text;
}

std::string DescribeLeftover(const Truth& truth) {
  std::string text;
  for (const auto& [number, partition] : truth.partitions) {
    const std::int64_t committed = partition.committed.value_or(0);
    if (committed >= partition.end) continue;
    std::vector<std::string> messages;
    for (const Delivery& delivery : truth.deliveries) {
      if (delivery.partition != number || delivery.offset < committed) continue;
      const auto state = truth.ids.find(delivery.id);
      messages.push_back(
          absl::StrCat(delivery.offset, " ", delivery.id.empty() ? "without id" : delivery.id, " ",
                       state == truth.ids.end() ? "unknown" : ToAbsl(ToString(state->second))));
    }
    absl::StrAppend(&text, "    partition ", number, ": the group's offset is ",
                    partition.committed.value_or(-1), ", the store's position ",
                    partition.position.value_or(-1), ", the log ends at ", partition.end, ": ",
                    Shortened(messages), "\n");
  }
  if (truth.outbox_pending > 0) {
    absl::StrAppend(&text, "    ", truth.outbox_pending, " letters wait in the outbox\n");
  }
  return text;
}

std::string DescribeLetters(DedupStore& store) {
  std::string text;
  if (const auto pending = store.transactions()->outbox().FindPending(kShownMax); pending.ok()) {
    for (const PendingRow& row : *pending) {
      absl::StrAppend(&text, "    letter ", row.sequence, " waits, for ", row.message.topic, "\n");
    }
  } else {
    absl::StrAppend(&text, "    the outbox: ", pending.status().ToString(), "\n");
  }
  const auto failures = store.operations()->FindFailures({});
  if (!failures.ok()) return text;
  for (const StoredFailure& failure : *failures) {
    if (failure.parked_reason.empty()) continue;
    absl::StrAppend(&text, "    letter ", failure.number, " of ", failure.id,
                    " was given up: ", failure.parked_reason, "\n");
  }
  return text;
}

std::string DescribeOpenCalls(const std::string& history) {
  std::map<std::int64_t, std::string> open;
  std::int64_t last = 0;
  std::map<std::int64_t, std::int64_t> begun;
  ReadHistory({history}, [&](const HistoryEvent& event) {
    last = std::max(last, event.time);
    if (event.how == "invoke") {
      open[event.sequence] = event.line.substr(0, 300);
      begun[event.sequence] = event.time;
    } else {
      open.erase(event.of);
    }
  });
  constexpr double kNanosecondsPerSecond = 1e9;
  std::string text;
  for (const auto& [sequence, line] : open) {
    // "stats" has no end.
    if (line.find("\"c\":\"stats\"") != std::string::npos) continue;
    absl::StrAppend(&text, "    open since ",
                    static_cast<double>(last - begun[sequence]) / kNanosecondsPerSecond,
                    " s before the last line: ", line, "\n");
  }
  return text;
}

std::string TailOf(const std::string& file) {
  std::deque<std::string> lines;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(std::move(line));
    if (lines.size() > kShownMax) lines.pop_front();
  }
  std::string text;
  for (const std::string& line : lines) absl::StrAppend(&text, "    ", line.substr(0, 400), "\n");
  return text;
}

}  // namespace once::campaign
