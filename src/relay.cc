// One round of the relay: read, publish, mark or park.
#include "src/relay.h"

#include <cstdint>
#include <span>
#include <string>
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

absl::StatusOr<RelayRound> PublishPending(const RelayContext& context) {
  absl::StatusOr<std::vector<PendingRow>> rows = context.outbox.FindPending(kRelayRowsMax);
  if (!rows.ok()) return rows.status();
  RelayRound round{.found = rows->size()};
  if (rows->empty()) return round;

  std::vector<OutgoingMessage> messages;
  messages.reserve(rows->size());
  for (const PendingRow& row : *rows) messages.push_back(row.message);
  std::vector<absl::Status> outcomes(messages.size(), absl::UnknownError("not published"));
  if (ONCE_PLANTED_BUG("marked-before-published")) {
    std::vector<std::int64_t> all;
    for (const PendingRow& row : *rows) all.push_back(row.sequence);
    if (absl::Status marked = MarkPublished(context.outbox, all); !marked.ok()) return marked;
  }
  ONCE_KILL_POINT("relay.before_publish");
  context.publisher.Publish(messages, context.executor.Now() + context.publish_timeout, outcomes);
  ONCE_KILL_POINT("relay.published");

  std::vector<std::int64_t> published;
  absl::Status park_error;
  for (std::size_t i = 0; i < rows->size(); ++i) {
    const PendingRow& row = (*rows)[i];
    if (outcomes[i].ok() || ONCE_PLANTED_BUG("unpublished-marked")) {
      published.push_back(row.sequence);
      continue;
    }
    if (outcomes[i].code() == absl::StatusCode::kCancelled) continue;
    const bool is_hopeless = outcomes[i].code() == absl::StatusCode::kInvalidArgument;
    LogFailure(context, row, outcomes[i], is_hopeless);
    if (!is_hopeless) continue;
    const absl::Status parked = context.outbox.Park(row.sequence, outcomes[i]);
    if (parked.ok()) ++round.parked;
    park_error.Update(parked);
  }
  if (published.empty() && park_error.ok()) return round;
  if (absl::Status marked = MarkPublished(context.outbox, published); !marked.ok()) return marked;
  ONCE_KILL_POINT("relay.marked");
  if (!park_error.ok()) return park_error;  // after the marks: they must not be published again
  round.published = published.size();
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
