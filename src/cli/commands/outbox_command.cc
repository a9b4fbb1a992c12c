// Rows page by page: millions may wait.
#include "src/cli/commands/outbox_command.h"

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "once/abseil.h"
#include "src/cli/commands/plain_bytes.h"

namespace once::cli {
namespace {

using nlohmann::ordered_json;

// Read from the store at a time; their values are in memory together.
constexpr std::size_t kPage = 100;
// Messages of one id that are named when there are several.
constexpr std::size_t kNamedMax = 5;

// A message of the list. Of a discarded one there is no row any more.
struct ListedMessage {
  OutgoingRow row;
  std::string state;
  std::string reason;
  std::string id;
  absl::Time since = absl::InfinitePast();  // put, parked or discarded
};

absl::Status NoOutbox() {
  return absl::UnimplementedError(
      "this store keeps no messages that a relay publishes; stores of SQLite and RocksDB do");
}

ordered_json TimeOrNull(absl::Time time) {
  if (time == absl::InfinitePast() || time == absl::InfiniteFuture()) return ordered_json();
  return absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone());
}

ordered_json BytesOrNull(const std::optional<std::string>& bytes) {
  return bytes ? ordered_json(ShowBytes(*bytes)) : ordered_json();
}

ordered_json NameOrNull(const std::string& bytes) {
  return bytes.empty() ? ordered_json() : ordered_json(ShowBytes(bytes));
}

bool IsKnown(absl::Time time) {
  return time != absl::InfinitePast() && time != absl::InfiniteFuture();
}

std::string ShowAge(const CommandContext& context, absl::Time time) {
  if (!IsKnown(time) || !IsKnown(context.now)) return "-";
  const absl::Duration age = std::max(absl::ZeroDuration(), context.now - time);
  return absl::FormatDuration(absl::Trunc(age, absl::Seconds(1)));
}

ordered_json Describe(const CommandContext& context, const ListedMessage& message) {
  ordered_json described = {{"number", message.row.number},
                            {"state", message.state},
                            {"topic", NameOrNull(message.row.message.topic)},
                            {"key", BytesOrNull(message.row.message.key)},
                            {"id", NameOrNull(message.id)},
                            {"bytes", SizeBytes(message.row.message)},
                            {"put_at", TimeOrNull(message.row.put_at)},
                            {"since", TimeOrNull(message.since)},
                            {"reason", NameOrNull(message.reason)}};
  if (IsKnown(message.row.put_at) && IsKnown(context.now)) {
    described["age_seconds"] = absl::ToInt64Seconds(context.now - message.row.put_at);
  }
  // What was there of it is not known, and of a discarded one not kept.
  if (message.state == "discarded" || !message.row.damage.ok()) described.erase("bytes");
  return described;
}

std::vector<std::string> RowOf(const CommandContext& context, const ListedMessage& message) {
  const OutgoingMessage& content = message.row.message;
  return {absl::StrCat(message.row.number),
          message.state,
          content.topic.empty() ? "-" : ShowBytes(content.topic),
          content.key ? ShowBytes(*content.key) : "-",
          message.id.empty() ? "-" : ShowBytes(message.id),
          ShowAge(context, message.row.put_at),
          message.reason.empty() ? "-" : ShowSentence(message.reason)};
}

ListedMessage Parked(ParkedRow parked) {
  ListedMessage message{.row = std::move(parked.row),
                        .state = "parked",
                        .reason = std::move(parked.reason),
                        .since = parked.parked_at};
  message.id = IdOf(message.row.message);
  return message;
}

using Page = absl::StatusOr<std::vector<ListedMessage>>;

Page ListParkedPage(OutgoingOperations& outgoing, std::int64_t after) {
  absl::StatusOr<std::vector<ParkedRow>> rows = outgoing.ListParked(after, kPage);
  if (!rows.ok()) return rows.status();
  std::vector<ListedMessage> page;
  for (ParkedRow& row : *rows) page.push_back(Parked(std::move(row)));
  return page;
}

// What waits, and which of it is parked.
Page ListWaitingPage(OutgoingOperations& outgoing, std::int64_t after) {
  absl::StatusOr<std::vector<OutgoingRow>> rows = outgoing.ListWaiting(after, kPage);
  if (!rows.ok()) return rows.status();
  std::map<std::int64_t, ParkedRow> parked;
  if (!rows->empty()) {
    absl::StatusOr<std::vector<ParkedRow>> found = outgoing.ListParked(after, rows->size());
    if (!found.ok()) return found.status();
    for (ParkedRow& row : *found) parked.emplace(row.row.number, std::move(row));
  }
  std::vector<ListedMessage> page;
  for (OutgoingRow& row : *rows) {
    if (const auto found = parked.find(row.number); found != parked.end()) {
      page.push_back(Parked(std::move(found->second)));
      continue;
    }
    std::string id = IdOf(row.message);
    const absl::Time since = row.put_at;
    page.push_back(
        {.row = std::move(row), .state = "waiting", .id = std::move(id), .since = since});
  }
  return page;
}

Page ListDiscardedPage(OutgoingOperations& outgoing, std::int64_t after) {
  absl::StatusOr<std::vector<DiscardedRow>> rows = outgoing.ListDiscarded(after, kPage);
  if (!rows.ok()) return rows.status();
  std::vector<ListedMessage> page;
  for (DiscardedRow& row : *rows) {
    page.push_back({.row = {.number = row.number, .message = {.topic = std::move(row.topic)}},
                    .state = "discarded",
                    .reason = std::move(row.reason),
                    .id = std::move(row.id),
                    .since = row.discarded_at});
  }
  return page;
}

Page ListPage(OutgoingOperations& outgoing, OutboxListOptions::Kind kind, std::int64_t after) {
  switch (kind) {
    case OutboxListOptions::Kind::kParked:
      return ListParkedPage(outgoing, after);
    case OutboxListOptions::Kind::kDiscarded:
      return ListDiscardedPage(outgoing, after);
    default:
      return ListWaitingPage(outgoing, after);
  }
}

// Until the visitor says false.
absl::Status Visit(OutgoingOperations& outgoing, OutboxListOptions::Kind kind, std::int64_t after,
                   const std::function<bool(const ListedMessage&)>& visit) {
  while (true) {
    const Page page = ListPage(outgoing, kind, after);
    if (!page.ok()) return page.status();
    if (page->empty()) return absl::OkStatus();
    after = page->back().row.number;
    for (const ListedMessage& message : *page) {
      if (!visit(message)) return absl::OkStatus();
    }
  }
}

std::string ShowSelector(const OutboxSelector& selector) {
  return selector.number ? absl::StrCat("number ", *selector.number)
                         : ShowBytes(selector.id.value_or(""));
}

// The numbers of the parked messages of an id: none is an error.
absl::StatusOr<std::vector<std::int64_t>> FindParked(OutgoingOperations& outgoing,
                                                     const OutboxSelector& selector) {
  if (selector.number) return std::vector<std::int64_t>{*selector.number};
  std::vector<std::int64_t> numbers;
  const absl::Status visited =
      Visit(outgoing, OutboxListOptions::Kind::kParked, 0, [&](const ListedMessage& message) {
        if (message.id == *selector.id) {
          numbers.push_back(message.row.number);
        }
        return true;
      });
  if (!visited.ok()) return visited;
  if (numbers.empty()) {
    return absl::NotFoundError(absl::StrCat("no message ", ShowSelector(selector),
                                            " is parked; `once outbox list` lists what there is"));
  }
  return numbers;
}

absl::Status Retry(OutgoingOperations& outgoing, const OutboxSelector& selector) {
  const absl::StatusOr<std::vector<std::int64_t>> numbers = FindParked(outgoing, selector);
  if (!numbers.ok()) return numbers.status();
  for (const std::int64_t number : *numbers) {
    if (absl::Status unparked = outgoing.Unpark(number); !unparked.ok()) return unparked;
  }
  return absl::OkStatus();
}

std::string WhatFollows(const CommandContext& context) {
  return context.is_running || context.is_server
             ? "is published by the running relay, if there is one, before all others of its key"
             : "is published, before all others of its key, when a relay opens this store";
}

ordered_json DescribeSelector(const OutboxSelector& selector) {
  ordered_json described = ordered_json::object();
  if (selector.id) described["id"] = ShowBytes(*selector.id);
  if (selector.number) described["number"] = *selector.number;
  return described;
}

}  // namespace

Report ListOutbox(CommandContext& context, const OutboxListOptions& options) {
  if (context.outgoing == nullptr) return ReportError(NoOutbox());
  const absl::StatusOr<OutgoingCounts> counts = context.outgoing->Count();
  if (!counts.ok()) return ReportError(counts.status());
  ordered_json messages = ordered_json::array();
  Table table({"NUMBER", "STATE", "TOPIC", "KEY", "ID", "AGE", "REASON"});
  std::int64_t last = options.after;
  bool is_complete = true;
  const absl::Status visited =
      Visit(*context.outgoing, options.kind, options.after, [&](const ListedMessage& message) {
        if (!options.topic.empty() && message.row.message.topic != options.topic) return true;
        is_complete = messages.size() < options.rows_max;
        if (!is_complete) return false;
        last = message.row.number;
        messages.push_back(Describe(context, message));
        table.Add(RowOf(context, message));
        return true;
      });
  if (!visited.ok()) return ReportError(visited);
  Report report;
  if (!table.is_empty()) report.text = table.Render();
  report.notes.push_back(absl::StrCat(counts->waiting, " messages wait, ", counts->parked,
                                      " of them parked; the oldest for ",
                                      ShowAge(context, counts->oldest)));
  if (!is_complete) {
    report.notes.push_back(absl::StrCat("there are more; go on with --after ", last));
  }
  if (options.is_check && counts->parked > 0) report.code = kFoundProblems;
  report.document = {{"store", context.store},
                     {"waiting", counts->waiting},
                     {"parked", counts->parked},
                     {"oldest_put_at", TimeOrNull(counts->oldest)},
                     {"complete", is_complete},
                     {"next_after", is_complete ? ordered_json() : ordered_json(last)},
                     {"messages", std::move(messages)}};
  return report;
}

Report RetryOutbox(CommandContext& context, const std::vector<OutboxSelector>& selectors) {
  if (context.outgoing == nullptr) return ReportError(NoOutbox());
  Report report;
  ordered_json outcomes = ordered_json::array();
  std::vector<absl::Status> failures;
  for (const OutboxSelector& selector : selectors) {
    const absl::Status retried = Retry(*context.outgoing, selector);
    ordered_json outcome = DescribeSelector(selector);
    if (retried.ok()) {
      outcome["next"] = absl::StrCat("it ", WhatFollows(context));
      absl::StrAppend(&report.text, ShowSelector(selector), ": it ", WhatFollows(context), "\n");
    } else {
      failures.push_back(retried);
      outcome["error"] = DescribeError(retried);
      report.notes.push_back(absl::StrCat(ShowSelector(selector), ": ", retried.message()));
    }
    outcomes.push_back(std::move(outcome));
  }
  if (!failures.empty()) {
    const bool is_all = failures.size() == selectors.size();
    report.code = is_all ? ExitCodeOf(failures.front()) : kPartlyFailed;
  }
  report.document = {{"store", context.store},
                     {"action", "retry"},
                     {"complete", report.code == kDone},
                     {"outcomes", std::move(outcomes)}};
  if (!failures.empty() && selectors.size() == 1) {
    report.document["error"] = DescribeError(failures.front());
  }
  return report;
}

Report RetryOutboxTopic(CommandContext& context, const std::string& topic) {
  if (context.outgoing == nullptr) return ReportError(NoOutbox());
  const absl::StatusOr<std::size_t> count = context.outgoing->UnparkTopic(topic);
  if (!count.ok()) return ReportError(count.status());
  if (*count == 0) {
    return ReportError(
        absl::NotFoundError(absl::StrCat("no message to ", ShowBytes(topic), " is parked")));
  }
  Report report;
  report.text = absl::StrCat(ShowBytes(topic), ": ", *count, *count == 1 ? " message" : " messages",
                             ": each ", WhatFollows(context), "\n");
  report.document = {{"store", context.store},
                     {"action", "retry"},
                     {"complete", true},
                     {"topic", ShowBytes(topic)},
                     {"retried_messages", *count}};
  return report;
}

Report DiscardFromOutbox(CommandContext& context, const OutboxSelector& selector,
                         const std::string& reason) {
  if (context.outgoing == nullptr) return ReportError(NoOutbox());
  const absl::StatusOr<std::vector<std::int64_t>> numbers = FindParked(*context.outgoing, selector);
  if (!numbers.ok()) return ReportError(numbers.status());
  if (numbers->size() > 1) {
    const std::size_t named = std::min(numbers->size(), kNamedMax);
    return ReportError(absl::InvalidArgumentError(
        absl::StrCat(numbers->size(), " parked messages have the id ", ShowSelector(selector),
                     "; say which with --number: ",
                     absl::StrJoin(numbers->begin(),
                                   numbers->begin() + static_cast<std::ptrdiff_t>(named), ", "))));
  }
  const std::int64_t number = numbers->front();
  const std::string question =
      absl::StrCat("Discard ", ShowSelector(selector), "? Never published, and not taken back");
  if (!context.confirm(question)) {
    return ReportError(absl::FailedPreconditionError(
        absl::StrCat(ShowSelector(selector), ": not discarded; add --yes if that is meant")));
  }
  const absl::Status discarded = context.outgoing->GiveUp(number, reason);
  if (!discarded.ok()) return ReportError(discarded);
  Report report;
  report.text = absl::StrCat(ShowSelector(selector),
                             ": never published; what waits behind it of its key goes on\n");
  report.document = {{"store", context.store},
                     {"action", "discard"},
                     {"complete", true},
                     {"number", number},
                     {"reason", ShowBytes(reason)}};
  return report;
}

}  // namespace once::cli
