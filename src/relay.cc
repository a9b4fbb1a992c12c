// One round of the relay: read, publish, mark or park.
#include "src/relay.h"

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "once/abseil.h"
#include "src/test_hooks.h"

namespace once {
namespace {

// Each attempt waits as long as the store waits for its write lock.
constexpr int kMarkAttempts = 3;

void LogFailure(const RelayContext& context, const PendingRow& row, const absl::Status& error,
                bool is_parked) {
  context.metrics.Add("once_dead_letter_publish_failures_total", {}, 1);
  context.log.Log({.level = is_parked ? LogLevel::kError : LogLevel::kWarning,
                   .time = context.executor.Now(),
                   .action = is_parked ? "dead_letter_parked" : "dead_letter_delayed",
                   .message = (is_parked ? "no retry can publish this dead letter; it stays in the "
                                           "store's outbox: "
                                         : "dead letter not acknowledged, will be sent again: ") +
                              error.ToString(),
                   .fields = {{"once.outbox.sequence", std::to_string(row.sequence)},
                              {"messaging.destination.name", row.message.topic}}});
}

// A busy store is asked again: a row that is not marked will be published once more.
absl::Status MarkPublished(Outbox& outbox, std::span<const std::int64_t> sequences) {
  absl::Status marked;
  for (int attempt = 0; attempt < kMarkAttempts; ++attempt) {
    marked = outbox.MarkPublished(sequences);
    if (marked.code() != absl::StatusCode::kUnavailable) break;
  }
  return marked;
}

// What later letters wait for: an earlier one of their destination and key.
using LetterOrder = std::pair<std::string_view, std::string_view>;

// Takes the rows out of `waiting` that may be published now: of each destination and key the first
// one. What goes out together may fail alone, and a letter must not overtake one that failed. No
// order is owed to letters without a key.
std::vector<const PendingRow*> TakeNext(std::vector<const PendingRow*>& waiting) {
  std::set<LetterOrder> taken;
  std::vector<const PendingRow*> next;
  std::vector<const PendingRow*> later;
  for (const PendingRow* row : waiting) {
    const OutgoingMessage& letter = row->message;
    const bool is_first = !letter.key || taken.insert({letter.topic, *letter.key}).second ||
                          ONCE_PLANTED_BUG("letter-overtakes");
    (is_first ? next : later).push_back(row);
  }
  waiting = std::move(later);
  return next;
}

// Publishes, then marks or parks; what failed for now holds back what comes after it in `waiting`.
absl::Status PublishRows(const RelayContext& context, std::span<const PendingRow* const> rows,
                         absl::Time deadline, std::vector<const PendingRow*>& waiting,
                         RelayRound& round) {
  std::vector<OutgoingMessage> messages;
  messages.reserve(rows.size());
  for (const PendingRow* row : rows) messages.push_back(row->message);
  std::vector<absl::Status> outcomes(messages.size(), absl::UnknownError("not published"));
  ONCE_KILL_POINT("relay.before_publish");
  context.publisher.Publish(messages, deadline, outcomes);
  ONCE_KILL_POINT("relay.published");

  std::vector<std::int64_t> published;
  std::set<LetterOrder> failed;
  absl::Status park_error;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const PendingRow& row = *rows[i];
    if (outcomes[i].ok() || ONCE_PLANTED_BUG("unpublished-marked")) {
      published.push_back(row.sequence);
      continue;
    }
    const bool is_hopeless = outcomes[i].code() == absl::StatusCode::kInvalidArgument;
    if (!is_hopeless && row.message.key) failed.insert({row.message.topic, *row.message.key});
    if (outcomes[i].code() == absl::StatusCode::kCancelled) continue;
    LogFailure(context, row, outcomes[i], is_hopeless);
    if (!is_hopeless) continue;
    const absl::Status parked = context.outbox.Park(row.sequence, outcomes[i]);
    if (parked.ok()) ++round.parked;
    park_error.Update(parked);
  }
  std::erase_if(waiting, [&failed](const PendingRow* row) {
    return failed.contains({row->message.topic, *row->message.key});
  });
  if (published.empty()) return park_error;
  if (absl::Status marked = MarkPublished(context.outbox, published); !marked.ok()) return marked;
  ONCE_KILL_POINT("relay.marked");
  round.published += published.size();
  return park_error;  // after the marks: they must not be published again
}

absl::StatusOr<RelayRound> PublishPending(const RelayContext& context) {
  absl::StatusOr<std::vector<PendingRow>> rows = context.outbox.FindPending(kRelayRowsMax);
  if (!rows.ok()) return rows.status();
  RelayRound round{.found = rows->size()};
  std::vector<const PendingRow*> waiting;
  for (const PendingRow& row : *rows) waiting.push_back(&row);
  if (ONCE_PLANTED_BUG("marked-before-published")) {
    std::vector<std::int64_t> all;
    for (const PendingRow& row : *rows) all.push_back(row.sequence);
    if (absl::Status marked = MarkPublished(context.outbox, all); !marked.ok()) return marked;
  }
  // One deadline for all: a key with many letters makes the round no longer.
  const absl::Time deadline = context.executor.Now() + context.publish_timeout;
  for (bool is_first = true; !waiting.empty(); is_first = false) {
    if (!is_first && context.executor.Now() >= deadline) break;
    const std::vector<const PendingRow*> next = TakeNext(waiting);
    const absl::Status status = PublishRows(context, next, deadline, waiting, round);
    if (!status.ok()) return status;
  }
  return round;
}

}  // namespace

absl::StatusOr<RelayRound> RelayOnce(const RelayContext& context) {
  if (!context.outbox.TryAcquireRelay()) return RelayRound{};
  absl::StatusOr<RelayRound> round = PublishPending(context);
  context.outbox.ReleaseRelay();
  return round;
}

}  // namespace once
