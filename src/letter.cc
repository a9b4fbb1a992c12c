// A dead letter with its origin and its owner.
#include "src/letter.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/invoke_handler.h"

namespace once {

absl::StatusOr<OutboxRow> MakeLetter(const LetterRequest& request) {
  const Message& message = request.message;
  const DeadLetterReason& reason = request.reason;
  if (request.sink.publisher == nullptr) {
    return absl::FailedPreconditionError(
        ToString(request.origin.partition) + " offset " + std::to_string(message.offset()) +
        " must be dead-lettered (" + std::string(ToString(reason.disposition)) + ": " +
        std::string(ToStd(reason.error.message())) +
        "), and this consumer has no dead letters: set ConsumerOptions::dead_letters and restart");
  }
  std::string topic;
  const absl::Status named = CatchExceptions("DeadLetterSink::topic", [&] {
    topic = request.sink.topic(message.topic(), request.origin.group);
  });
  if (!named.ok()) return named;
  OutboxRow row{.origin = {.key = request.origin,
                           .offset = message.offset(),
                           .timestamp_ms = message.timestamp_ms(),
                           .scope = std::string(reason.scope)},
                .message = MakeDeadLetter(message, reason, std::move(topic))};
  // A conflict is not the failure of the message that owns the id.
  if (!reason.id.empty() && reason.disposition != Disposition::kConflict) {
    row.scope = std::string(reason.scope);
    row.id = std::string(reason.id);
  }
  return row;
}

std::string DescribeSkip(const Outcome& outcome) {
  const bool is_word = outcome.kind() == OutcomeKind::kSkip;
  return absl::StrCat(is_word ? "skipped by the handler: " : "given up (retry.give_up): ",
                      outcome.status().message());
}

}  // namespace once
