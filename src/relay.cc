// One round of the relay: read, publish, mark or park.
#include "src/relay.h"

#include <cstdint>
#include <string>
#include <vector>

#include "once/abseil.h"

namespace once {
namespace {

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

absl::StatusOr<RelayRound> PublishPending(const RelayContext& context) {
  absl::StatusOr<std::vector<PendingRow>> rows = context.outbox.FindPending(kRelayRowsMax);
  if (!rows.ok()) return rows.status();
  RelayRound round{.found = rows->size()};
  if (rows->empty()) return round;

  std::vector<OutgoingMessage> messages;
  messages.reserve(rows->size());
  for (const PendingRow& row : *rows) messages.push_back(row.message);
  std::vector<absl::Status> outcomes(messages.size(), absl::UnknownError("not published"));
  context.publisher.Publish(messages, context.executor.Now() + context.publish_timeout, outcomes);

  std::vector<std::int64_t> published;
  for (std::size_t i = 0; i < rows->size(); ++i) {
    const PendingRow& row = (*rows)[i];
    if (outcomes[i].ok()) {
      published.push_back(row.sequence);
      continue;
    }
    if (outcomes[i].code() == absl::StatusCode::kCancelled) continue;
    const bool is_hopeless = outcomes[i].code() == absl::StatusCode::kInvalidArgument;
    LogFailure(context, row, outcomes[i], is_hopeless);
    if (!is_hopeless) continue;
    if (absl::Status parked = context.outbox.Park(row.sequence, outcomes[i]); !parked.ok()) {
      return parked;
    }
    ++round.parked;
  }
  if (published.empty()) return round;
  if (absl::Status marked = context.outbox.MarkPublished(published); !marked.ok()) return marked;
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
