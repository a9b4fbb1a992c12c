// What becomes of a message whose handler failed, or that must not be handled: retry, dead letter,
// skip, or a stop of its partition.
#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/batch_transaction.h"
#include "src/invoke_handler.h"
#include "src/letter.h"
#include "src/position_command.h"
#include "src/test_hooks.h"

namespace once {

void BatchTransaction::DecideFailure(Candidate& candidate, const IdRecord& record,
                                     const Outcome& outcome) {
  WorkPartition& partition = *candidate.partition;
  if (IsOfAnother(candidate, staged_.Find(candidate.staged))) {
    // There is no place to count its attempts in.
    DeadLetter(
        candidate, record, Disposition::kConflict,
        absl::AlreadyExistsError(absl::StrCat(
            "its handler failed, and another message has its id: ", outcome.status().message())));
    return;
  }
  const int attempt = record.attempt + 1;
  const absl::Time now = context_.executor.Now();
  const absl::Time first_failed_at =
      record.first_failed_at == absl::InfinitePast() ? now : record.first_failed_at;
  IdRecord failed{.state = IdState::kRetrying,
                  .fingerprint = candidate.identity.fingerprint,
                  .attempt = attempt,
                  .first_failed_at = first_failed_at};
  constexpr double kRandomRange = 18446744073709551616.0;  // 2^64: Next() becomes [0, 1)
  RetryDecision decision = {.action = RetryAction::kPause};
  const absl::Status decided = CatchExceptions("RetryPolicy::classify", [&] {
    decision = Decide(context_.retry, outcome,
                      {.attempt = attempt,
                       .first_failed_at = first_failed_at,
                       .now = now,
                       .random = static_cast<double>(context_.random.Next()) / kRandomRange});
  });
  if (!decided.ok()) {
    partition.stop = decided;
    LeaveUncounted(candidate, record);
    return;
  }
  switch (decision.action) {
    case RetryAction::kRetry:
      failed.not_before = now + decision.delay;
      // Later copies in this very batch wait too, even where the delay is zero.
      partition.not_before = std::max(failed.not_before, now_ + absl::Nanoseconds(1));
      if (!ONCE_PLANTED_BUG("failure-not-recorded")) staged_.Put(candidate.staged, failed);
      ++retries_;
      is_changed_ = true;
      Note(LogLevel::kInfo, "retry_scheduled",
           "attempt " + std::to_string(attempt) +
               " failed: " + std::string(ToStd(outcome.status().message())),
           candidate);
      return;
    case RetryAction::kDeadLetter:
      if (DeadLetter(candidate, failed, decision.disposition, outcome.status())) {
        failed.state = IdState::kDead;
      }
      // Without a sink it stays `retrying`: the attempt was made, and counts after a restart.
      staged_.Put(candidate.staged, failed);
      is_changed_ = true;
      return;
    case RetryAction::kSkip:
      Discard(candidate, failed, DescribeSkip(outcome));
      return;
    case RetryAction::kPause:
      partition.stop =
          absl::Status(outcome.status().code(),
                       absl::StrCat("the handler asked for a pause: ", outcome.status().message(),
                                    "; to go on once the cause is gone, restart, or ",
                                    PositionCommand(partition.lock.key, "set",
                                                    std::to_string(candidate.message().offset()))));
      LeaveUncounted(candidate, record);
      return;
    case RetryAction::kDone:
      return;
  }
}

void BatchTransaction::Discard(Candidate& candidate, IdRecord record, std::string reason) {
  record.state = IdState::kDiscarded;
  staged_.Put(candidate.staged, record);
  candidate.item->verdict = Verdict::kDiscarded;
  is_changed_ = true;
  Note(LogLevel::kInfo, "discarded", std::move(reason), candidate);
}

void BatchTransaction::BuryExhausted(Candidate& candidate, const IdRecord& record) {
  constexpr const char* kReason =
      "all attempts were used up earlier; a last one without an outcome ended with its process";
  const RetryDecision decision = GiveUpAs(context_.retry, Disposition::kRetriesExhausted);
  if (decision.action == RetryAction::kSkip) return Discard(candidate, record, kReason);
  if (!DeadLetter(candidate, record, decision.disposition, absl::ResourceExhaustedError(kReason))) {
    return;
  }
  IdRecord dead = record;
  dead.state = IdState::kDead;
  staged_.Put(candidate.staged, dead);
}

// Takes back an attempt that was recorded in advance and has had no outcome that counts.
void BatchTransaction::LeaveUncounted(const Candidate& candidate, const IdRecord& record) {
  if (staged_.Find(candidate.staged) == record) return;
  staged_.Put(candidate.staged, record);
  is_changed_ = true;
}

bool BatchTransaction::DeadLetter(Candidate& candidate, const IdRecord& record,
                                  Disposition disposition, const absl::Status& error) {
  WorkPartition& partition = *candidate.partition;
  const Message& message = candidate.message();
  const bool is_conflict = disposition == Disposition::kConflict;
  const bool has_failed = record.first_failed_at != absl::InfinitePast();
  const DeadLetterReason reason{.disposition = disposition,
                                .id = candidate.identity.id,
                                .scope = partition.scope,
                                .attempt = is_conflict ? 0 : record.attempt,
                                .first_failed_at = has_failed ? record.first_failed_at : now_,
                                .last_failed_at = now_,
                                .error = error};
  absl::StatusOr<OutboxRow> letter = MakeLetter({.sink = context_.dead_letters,
                                                 .origin = partition.lock.key,
                                                 .message = message,
                                                 .reason = reason});
  if (!letter.ok()) {
    partition.stop = absl::Status(
        letter.status().code(),
        absl::StrCat(
            letter.status().message(), "; to leave the message out: ",
            PositionCommand(partition.lock.key, "set", std::to_string(message.offset() + 1))));
    return false;
  }
  letters_.push_back(*std::move(letter));
  candidate.item->verdict = is_conflict ? Verdict::kConflict : Verdict::kDeadLettered;
  is_changed_ = true;
  Note(LogLevel::kWarning, "dead_lettered",
       std::string(ToString(disposition)) + ": " + std::string(ToStd(error.message())), candidate);
  return true;
}

void BatchTransaction::Note(LogLevel level, std::string_view action, std::string message,
                            const Candidate& candidate) {
  if (level < context_.log.level()) return;
  const TopicPartition& origin = candidate.partition->lock.key.partition;
  const std::int64_t offset = candidate.message().offset();
  events_.push_back(
      {.level = level,
       .time = now_,
       .action = action,
       .message = std::move(message),
       .fields = {{"once.id", std::string(candidate.identity.id)},
                  {"messaging.destination.name", origin.topic},
                  {"messaging.destination.partition.id", std::to_string(origin.partition)},
                  {"messaging.kafka.offset", std::to_string(offset)}}});
}

}  // namespace once
