// The transaction of one batch. Control flow lives in SettleBatch and RunTransaction; what a single
// message becomes is decided by Judge() and Decide().
#include "src/settle_batch.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/identify.h"
#include "src/invoke_handler.h"
#include "src/judge.h"
#include "src/letter.h"
#include "src/position_command.h"
#include "src/row_marks.h"
#include "src/staged_ids.h"
#include "src/store_errors.h"

namespace once {
namespace {

// How soon an id that somebody else has claimed under the same scope is looked at again.
constexpr absl::Duration kOpenClaimRecheck = absl::Seconds(1);

// How one pass over the batch ended.
enum class PassEnd : std::uint8_t {
  kCommitted,
  kNothing,
  kMismatch,
  kUnknown,
  kStoreTrouble,
  kDoomed,
  kFailedHandler,  // optimistic only: replay with savepoints
  kRefusedCommit,  // the store refused this content: halve, down to the message that causes it
};

class BatchTransaction {
 public:
  BatchTransaction(const SettleContext& context, WorkOrder& work, absl::Time deadline)
      : context_(context),
        work_(work),
        order_(*work.batch),
        deadline_(deadline),
        candidates_(context.buffers.candidates),
        staged_(context.buffers.staged) {
    Prepare();
    token_ = &work_.cancellation.Begin(absl::InfiniteFuture());
  }
  ~BatchTransaction() { work_.cancellation.End(); }
  BatchTransaction(const BatchTransaction&) = delete;
  BatchTransaction& operator=(const BatchTransaction&) = delete;

  std::size_t size() const { return candidates_.size(); }

  // What must be durable before a handler is invoked; kPending when the batch may run.
  BatchEnd Mark();

  // One transaction over the first `count` messages. REQUIRES: count <= size().
  PassEnd Run(std::size_t count, bool is_careful);

  // Lets the failure of a commit count as the failed attempt of the first message.
  void ChargeFirst(const absl::Status& error) {
    candidates_.front().failed = Outcome(OutcomeKind::kRetry, error);
  }

  const absl::Status& error() const { return error_; }

 private:
  void Prepare();
  absl::Status Lookup(StoreTransaction& transaction, std::size_t count);
  PassEnd RunMessages(StoreTransaction& transaction, std::size_t count, bool is_careful);
  // False when the pass cannot go on: `end` says why.
  bool RunMessage(StoreTransaction& transaction, std::size_t index, bool is_careful, PassEnd& end);
  bool Invoke(StoreTransaction& transaction, Candidate& candidate, const IdRecord& record,
              bool is_careful, PassEnd& end);
  void RememberFailure(Candidate& candidate, Outcome outcome);
  void DecideFailure(Candidate& candidate, const IdRecord& record, const Outcome& outcome);
  void LeaveUncounted(const Candidate& candidate, const IdRecord& record);
  bool DeadLetter(Candidate& candidate, const IdRecord& record, Disposition disposition,
                  const absl::Status& error);
  PassEnd Finish(StoreTransaction& transaction);
  PassEnd EndWith(PassEnd end, const absl::Status& error);
  void Note(LogLevel level, std::string_view action, std::string message,
            const Candidate& candidate);

  const SettleContext& context_;
  WorkOrder& work_;
  BatchOrder& order_;
  const absl::Time deadline_;
  const std::stop_token* token_ = nullptr;  // of the invocation at hand
  std::vector<Candidate>& candidates_;
  std::size_t decided_end_ = 0;  // one past the last candidate with a failed outcome to decide upon

  // State of the current pass.
  absl::Time now_;
  StagedIds& staged_;
  std::vector<OutboxRow> letters_;
  std::vector<LogEvent> events_;  // logged once the commit is known
  std::uint64_t retries_ = 0;
  bool is_changed_ = false;
  absl::Status error_;
};

void BatchTransaction::Prepare() {
  std::size_t count = 0;
  for (const WorkPartition& partition : order_.partitions) count += partition.items.size();
  candidates_.clear();
  candidates_.reserve(count);  // ids may point into Candidate::scratch: it must not move
  for (WorkPartition& partition : order_.partitions) {
    for (WorkItem& item : partition.items) {
      Candidate& candidate = candidates_.emplace_back();
      candidate.partition = &partition;
      candidate.item = &item;
      Identify(candidate.message(), context_.id, context_.fingerprint, candidate.identity);
      const absl::Status& printed = candidate.identity.fingerprint_error;
      if (!printed.ok()) candidate.failed = Reject(ToStd(printed.message()));
    }
  }
}

PassEnd BatchTransaction::EndWith(PassEnd end, const absl::Status& error) {
  error_ = error;
  return end;
}

absl::Status BatchTransaction::Lookup(StoreTransaction& transaction, std::size_t count) {
  std::vector<IdKey>& keys = context_.buffers.keys;
  keys.clear();
  for (std::size_t i = 0; i < count; ++i) {
    const Candidate& candidate = candidates_[i];
    if (candidate.identity.id_error.ok()) {
      keys.push_back(candidate.key());
    }
  }
  std::vector<IdRecord>& records = context_.buffers.records;
  records.assign(keys.size(), IdRecord{});
  absl::Status status = transaction.FindIds(keys, records);
  if (status.ok()) staged_.Reset(keys, records);
  return status;
}

BatchEnd BatchTransaction::Mark() {
  if (work_.doomed) return BatchEnd::kDoomed;
  const Candidate& first = candidates_.front();
  const bool is_invoked = first.identity.id_error.ok() && !first.failed;
  const SingleMessage single = {.key = {.scope = first.partition->scope,
                                        .id = is_invoked ? first.identity.id : std::string_view()},
                                .fingerprint = first.identity.fingerprint,
                                .offset = first.item->delivery.message().offset()};
  return MarkInvocations(context_.store, order_, order_.is_single ? &single : nullptr,
                         context_.retry.max_attempts, context_.executor.Now());
}

PassEnd BatchTransaction::Run(std::size_t count, bool is_careful) {
  letters_.clear();
  events_.clear();
  error_ = absl::OkStatus();
  retries_ = 0;
  is_changed_ = false;
  now_ = context_.executor.Now();
  std::vector<PositionLock> locks;
  for (WorkPartition& partition : order_.partitions) {
    for (WorkItem& item : partition.items) item.verdict = Verdict::kUnsettled;
    partition.not_before = absl::InfinitePast();
    partition.stop = absl::OkStatus();
    locks.push_back(partition.lock);
  }
  absl::StatusOr<BeginResult> begun = context_.store.Begin(locks);
  if (!begun.ok()) return EndWith(PassEnd::kStoreTrouble, begun.status());
  if (begun->transaction == nullptr) {
    order_.mismatches = std::move(begun->mismatches);
    return PassEnd::kMismatch;
  }
  StoreTransaction& transaction = *begun->transaction;
  PassEnd end = PassEnd::kNothing;
  if (const absl::Status found = Lookup(transaction, count); !found.ok()) {
    end = EndWith(PassEnd::kStoreTrouble, found);
  } else {
    end = RunMessages(transaction, count, is_careful);
  }
  const bool is_over =
      end == PassEnd::kCommitted || end == PassEnd::kUnknown || end == PassEnd::kRefusedCommit;
  if (!is_over) transaction.Rollback();
  if (end != PassEnd::kCommitted && end != PassEnd::kUnknown) ++order_.rollbacks;
  return end;
}

PassEnd BatchTransaction::RunMessages(StoreTransaction& transaction, std::size_t count,
                                      bool is_careful) {
  for (std::size_t i = 0; i < count; ++i) {
    if (work_.doomed) return PassEnd::kDoomed;
    // However late it is, at least one message per batch, and every failure that is known:
    // otherwise nothing would move, or a failed invocation would be repeated without being counted.
    // A recorded attempt is made, or it would be charged to a message that never ran.
    const bool is_late = i > 0 && context_.executor.Now() >= deadline_;
    const bool is_ending = (work_.finish_early && !order_.is_single) || is_late;
    if (i >= decided_end_ && is_ending) break;
    PassEnd end = PassEnd::kNothing;
    if (!RunMessage(transaction, i, is_careful, end)) return end;
  }
  return is_changed_ ? Finish(transaction) : PassEnd::kNothing;
}

bool BatchTransaction::RunMessage(StoreTransaction& transaction, std::size_t index, bool is_careful,
                                  PassEnd& end) {
  Candidate& candidate = candidates_[index];
  WorkPartition& partition = *candidate.partition;
  const bool is_blocked = partition.not_before > now_ || !partition.stop.ok();
  if (is_blocked) return true;
  if (!candidate.identity.id_error.ok()) {
    const bool is_missing = candidate.identity.id_error.code() == absl::StatusCode::kNotFound;
    DeadLetter(candidate, {}, is_missing ? Disposition::kNoId : Disposition::kInvalidId,
               candidate.identity.id_error);
    return true;
  }
  const IdRecord record = WithoutRecorded(staged_.Find(candidate.key()), partition.attempt,
                                          candidate.message().offset());
  switch (Judge(record, candidate.identity.fingerprint, context_.retry.max_attempts, now_)) {
    case Judgement::kDuplicate:
      candidate.item->verdict = Verdict::kDuplicate;
      is_changed_ = true;
      return true;
    case Judgement::kSettled:
      candidate.item->verdict = Verdict::kDiscarded;
      is_changed_ = true;
      return true;
    case Judgement::kConflict:
      DeadLetter(candidate, record, Disposition::kConflict,
                 absl::AlreadyExistsError("another message has this id and a different value"));
      return true;
    case Judgement::kExhausted:
      if (DeadLetter(candidate, record, Disposition::kRetriesExhausted,
                     absl::ResourceExhaustedError(
                         "all attempts were used up earlier; a last one without an outcome ended "
                         "with its process"))) {
        IdRecord dead = record;
        dead.state = IdState::kDead;
        staged_.Put(candidate.key(), dead);
      }
      return true;
    case Judgement::kWait:
      // A claim of a plain handler has no time of its own: look again after a while.
      partition.not_before = std::max(
          record.not_before,
          now_ + (record.state == IdState::kRetrying ? absl::Nanoseconds(1) : kOpenClaimRecheck));
      return true;
    case Judgement::kHandle:
      break;
  }
  return Invoke(transaction, candidate, record, is_careful, end);
}

bool BatchTransaction::Invoke(StoreTransaction& transaction, Candidate& candidate,
                              const IdRecord& record, bool is_careful, PassEnd& end) {
  if (candidate.failed) {
    DecideFailure(candidate, record, *candidate.failed);
    return true;
  }
  if (is_careful) {
    if (const absl::Status set = transaction.SetSavepoint(); !set.ok()) {
      end = EndWith(PassEnd::kStoreTrouble, set);
      return false;
    }
  }
  Message& message = candidate.item->delivery.message();
  // One token for the whole batch is enough where no invocation has a deadline of its own.
  if (context_.has_deadline) token_ = &work_.cancellation.Begin(context_.executor.Now());
  message.SetContext({.id = candidate.identity.id,
                      .scope = candidate.partition->scope,
                      .attempt = record.attempt + 1,
                      .cancellation = token_});
  Outcome outcome = InvokeHandler([&] { return context_.handler(message, transaction); });
  message.SetContext({});
  if (context_.has_deadline) work_.cancellation.End();
  const absl::Status open = transaction.CheckOpen();
  if (!open.ok()) {
    // Whatever ran after the end of our transaction is not in it. A store that ended it by itself
    // is in trouble; a handler that did has failed.
    const bool is_handlers_doing = open.code() == absl::StatusCode::kFailedPrecondition;
    if (is_handlers_doing) RememberFailure(candidate, Reject(ToStd(open.message())));
    end = EndWith(is_handlers_doing ? PassEnd::kFailedHandler : PassEnd::kStoreTrouble, open);
    return false;
  }
  if (outcome.is_done()) {
    staged_.Put(candidate.key(), {.state = IdState::kCompleted,
                                  .fingerprint = candidate.identity.fingerprint,
                                  .attempt = record.attempt + 1});
    candidate.item->verdict = Verdict::kProcessed;
    is_changed_ = true;
    return true;
  }
  if (!is_careful) {
    RememberFailure(candidate, std::move(outcome));
    end = PassEnd::kFailedHandler;
    return false;
  }
  if (const absl::Status undone = transaction.RollbackToSavepoint(); !undone.ok()) {
    end = EndWith(PassEnd::kStoreTrouble, undone);
    return false;
  }
  RememberFailure(candidate, std::move(outcome));
  DecideFailure(candidate, record, *candidate.failed);
  return true;
}

void BatchTransaction::RememberFailure(Candidate& candidate, Outcome outcome) {
  candidate.failed = std::move(outcome);
  const auto index = static_cast<std::size_t>(&candidate - candidates_.data());
  decided_end_ = std::max(decided_end_, index + 1);
}

void BatchTransaction::DecideFailure(Candidate& candidate, const IdRecord& record,
                                     const Outcome& outcome) {
  WorkPartition& partition = *candidate.partition;
  const IdKey key = candidate.key();
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
      staged_.Put(key, failed);
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
      staged_.Put(key, failed);
      is_changed_ = true;
      return;
    case RetryAction::kSkip:
      failed.state = IdState::kDiscarded;
      staged_.Put(key, failed);
      candidate.item->verdict = Verdict::kDiscarded;
      is_changed_ = true;
      Note(LogLevel::kInfo, "discarded",
           "skipped by the handler: " + std::string(ToStd(outcome.status().message())), candidate);
      return;
    case RetryAction::kPause:
      partition.stop =
          absl::Status(outcome.status().code(),
                       absl::StrCat("the handler asked for a pause: ", outcome.status().message(),
                                    "; to go on once the cause is gone, restart, or ",
                                    PositionCommand(partition.lock.key.partition, "set",
                                                    std::to_string(candidate.message().offset()))));
      LeaveUncounted(candidate, record);
      return;
    case RetryAction::kDone:
      return;
  }
}

// Takes back an attempt that was recorded in advance and has had no outcome that counts.
void BatchTransaction::LeaveUncounted(const Candidate& candidate, const IdRecord& record) {
  const IdKey key = candidate.key();
  if (staged_.Find(key) == record) return;
  staged_.Put(key, record);
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
    partition.stop =
        absl::Status(letter.status().code(),
                     absl::StrCat(letter.status().message(), "; to leave the message out: ",
                                  PositionCommand(partition.lock.key.partition, "set",
                                                  std::to_string(message.offset() + 1))));
    return false;
  }
  letters_.push_back(*std::move(letter));
  candidate.item->verdict = is_conflict ? Verdict::kConflict : Verdict::kDeadLettered;
  is_changed_ = true;
  Note(LogLevel::kWarning, "dead_lettered",
       std::string(ToString(disposition)) + ": " + std::string(ToStd(error.message())), candidate);
  return true;
}

// Position, reach and last applied record as this transaction leaves them.
PositionUpdate NextPosition(const WorkPartition& partition) {
  PositionUpdate update{.key = partition.lock.key,
                        .position = partition.lock.expected.position,
                        .last_applied = partition.last_applied};
  const Message* last = nullptr;
  for (const WorkItem& item : partition.items) {
    const Message& message = item.delivery.message();
    const bool is_settled = item.verdict != Verdict::kUnsettled;
    update.position = is_settled ? message.offset() + 1 : message.offset();
    if (!is_settled) break;
    last = &message;
  }
  if (last != nullptr) {
    update.last_applied = {.offset = last->offset(),
                           .timestamp_ms = last->timestamp_ms(),
                           .fingerprint = Fingerprint::Of(last->value())};
  }
  update.reach = std::max(update.position, partition.next_reach);
  return update;
}

PassEnd BatchTransaction::Finish(StoreTransaction& transaction) {
  std::vector<PositionUpdate> updates;
  for (WorkPartition& partition : order_.partitions) {
    updates.push_back(NextPosition(partition));
    partition.committed = {.position = updates.back().position,
                           .revision = partition.lock.expected.revision + 1,
                           .writer = partition.lock.expected.writer};
  }
  std::vector<IdWrite>& writes = context_.buffers.writes;
  staged_.CopyWrites(writes);
  absl::Status status = transaction.PutIds(writes);
  if (status.ok()) status = transaction.PutOutgoing(letters_);
  if (status.ok()) status = transaction.SetPositions(updates);
  if (status.ok()) status = transaction.CheckOpen();
  if (!status.ok()) return EndWith(PassEnd::kStoreTrouble, status);
  if (work_.doomed) return PassEnd::kDoomed;
  status = transaction.Commit(Durability::kMachine);
  if (status.ok() || status.code() == absl::StatusCode::kUnknown) {
    order_.retries += retries_;
    order_.letters += letters_.size();
  }
  if (status.ok()) {
    for (std::size_t i = 0; i < updates.size(); ++i) {
      WorkPartition& partition = order_.partitions[i];
      partition.is_committed = true;
      partition.reach = updates[i].reach;
      partition.last_applied = updates[i].last_applied;
    }
    for (const LogEvent& event : events_) context_.log.Log(event);
    return PassEnd::kCommitted;
  }
  if (status.code() == absl::StatusCode::kUnknown) return EndWith(PassEnd::kUnknown, status);
  return EndWith(IsRefusal(status) ? PassEnd::kRefusedCommit : PassEnd::kStoreTrouble, status);
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

BatchEnd ToBatchEnd(PassEnd end) {
  switch (end) {
    case PassEnd::kCommitted:
      return BatchEnd::kCommitted;
    case PassEnd::kMismatch:
      return BatchEnd::kMismatch;
    case PassEnd::kUnknown:
      return BatchEnd::kUnknown;
    case PassEnd::kDoomed:
      return BatchEnd::kDoomed;
    case PassEnd::kNothing:
      return BatchEnd::kNothing;
    case PassEnd::kStoreTrouble:
    case PassEnd::kFailedHandler:
    case PassEnd::kRefusedCommit:
      break;
  }
  return BatchEnd::kStoreTrouble;
}

}  // namespace

void SettleBatch(const SettleContext& context, WorkOrder& order) {
  const absl::Time deadline = context.executor.Now() + context.batch_max_duration;
  BatchTransaction transaction(context, order, deadline);
  std::size_t count = transaction.size();
  // A pass fails at most once per message (its outcome is then decided upon, not repeated), and a
  // refused commit halves the batch: the number of passes is bounded by both.
  const std::size_t passes_max = 2 * transaction.size() + 64;
  order.batch->end = transaction.Mark();
  if (order.batch->end != BatchEnd::kPending) {
    if (order.batch->end == BatchEnd::kStoreTrouble) ++order.batch->rollbacks;
    return;
  }
  bool is_careful = false;
  PassEnd end = PassEnd::kNothing;
  for (std::size_t pass = 0; pass < passes_max; ++pass) {
    end = transaction.Run(count, is_careful);
    if (end == PassEnd::kFailedHandler) {
      is_careful = true;
    } else if (end == PassEnd::kRefusedCommit && count > 1) {
      count = (count + 1) / 2;
      is_careful = true;
    } else if (end == PassEnd::kRefusedCommit) {
      transaction.ChargeFirst(transaction.error());
    } else {
      break;
    }
  }
  order.batch->error = transaction.error();
  order.batch->end = ToBatchEnd(end);
}

}  // namespace once
