// The passes over a batch: begin, look up, invoke, commit. What a single message becomes is decided
// by Judge() and Decide().
#include "src/batch_transaction.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "once/abseil.h"
#include "src/invoke_handler.h"
#include "src/judge.h"
#include "src/judge_losses.h"
#include "src/row_marks.h"
#include "src/store_errors.h"
#include "src/test_hooks.h"

namespace once {
namespace {

// How soon an id that somebody else has claimed under the same scope is looked at again.
constexpr absl::Duration kOpenClaimRecheck = absl::Seconds(1);

// A record dated after its receipt counts as of its receipt. While a backlog is read that bounds
// nothing, so of several messages the one that is dated earliest counts: a single one that is dated
// 2099 ages nothing.
std::int64_t DatedAt(const Message& message, std::int64_t received_ms) {
  return std::min(message.timestamp_ms(), received_ms);
}

// Position, reach and last applied record as this transaction leaves them. What is in hand at `now`
// was received before.
PositionUpdate NextPosition(const WorkPartition& partition, std::int64_t foreseen_reach,
                            absl::Time now) {
  PositionUpdate update{.key = partition.lock.key,
                        .position = partition.lock.expected.position,
                        .last_applied = partition.last_applied};
  const Message* last = nullptr;
  const std::int64_t now_ms = absl::ToUnixMillis(now);
  std::int64_t earliest_ms = now_ms;
  for (const WorkItem& item : partition.items) {
    const Message& message = item.delivery.message();
    const bool is_settled = item.verdict != Verdict::kUnsettled;
    update.position = is_settled ? message.offset() + 1 : message.offset();
    if (!is_settled && !ONCE_PLANTED_BUG("position-past-waiting")) break;
    last = &message;
    earliest_ms = std::min(earliest_ms, DatedAt(message, now_ms));
  }
  if (last != nullptr) {
    const std::int64_t before =
        partition.last_applied ? partition.last_applied->log_time_ms : std::int64_t{-1};
    update.last_applied = {.offset = last->offset(),
                           .timestamp_ms = last->timestamp_ms(),
                           .fingerprint = Fingerprint::Of(last->value()),
                           .log_time_ms = std::max(before, earliest_ms)};
  }
  update.reach = std::max({update.position, partition.next_reach, foreseen_reach});
  return update;
}

// A function of the user's may refuse a message: each is shown to it, or what becomes of one would
// depend on its neighbours, which decide whether its id is asked for.
bool IsOfUsers(const FingerprintFunction& fingerprint) {
  return fingerprint && fingerprint.target_type() != ValueFingerprint().target_type();
}

}  // namespace

void BatchTransaction::Prepare() {
  assert(work_.foreseen_reaches.size() == order_.partitions.size());
  std::size_t count = 0;
  for (const WorkPartition& partition : order_.partitions) count += partition.items.size();
  const bool is_printed = IsOfUsers(context_.fingerprint);
  candidates_.clear();
  candidates_.reserve(count);  // ids may point into Candidate::scratch: it must not move
  for (WorkPartition& partition : order_.partitions) {
    if (partition.sequences != nullptr) ReadNumbers(partition);
    const bool has_numbers = partition.numbers != nullptr && partition.numbers->is_needed();
    if (partition.numbers != nullptr) partition.numbers->Begin();
    for (WorkItem& item : partition.items) {
      Candidate& candidate = candidates_.emplace_back();
      candidate.partition = &partition;
      candidate.item = &item;
      ExtractId(candidate.message(), context_.id, candidate.identity);
      if (has_numbers) candidate.number = partition.numbers->Read(candidate.message());
      if (is_printed || !candidate.number) Print(candidate);
    }
  }
}

// REQUIRES: of a candidate whose id is asked for, before the answer is looked at.
void BatchTransaction::Print(Candidate& candidate) {
  if (candidate.is_printed) return;
  candidate.is_printed = true;
  TakeFingerprint(candidate.message(), context_.fingerprint, candidate.identity);
  const absl::Status& printed = candidate.identity.fingerprint_error;
  if (!printed.ok()) candidate.failed = Reject(ToStd(printed.message()));
}

// A plain handler has given it up and has not published its dead letter yet.
void BatchTransaction::WarnOfDying(const Candidate& candidate) {
  context_.log.Log({.level = LogLevel::kWarning,
                    .time = now_,
                    .action = "waits_for_dead_letter",
                    .message = "a consumer with a plain handler owes the dead letter of " +
                               ToString(candidate.partition->lock.key.partition) + " offset " +
                               std::to_string(candidate.message().offset()) +
                               "; the partition waits for it; if no such consumer runs any more, "
                               "discard the message with `once discard`",
                    .fields = {{"once.id", std::string(candidate.identity.id)}}});
}

PassEnd BatchTransaction::EndWith(PassEnd end, const absl::Status& error) {
  error_ = error;
  return end;
}

absl::Status BatchTransaction::Lookup(StoreTransaction& transaction, std::size_t count,
                                      bool is_careful) {
  if (const absl::Status loaded = LoadNumbers(transaction); !loaded.ok()) return loaded;
  std::vector<IdKey>& keys = context_.buffers.keys;
  keys.clear();
  for (std::size_t i = 0; i < count; ++i) {
    Candidate& candidate = candidates_[i];
    candidate.is_found = candidate.identity.id_error.ok() && IsIdNeeded(candidate, is_careful);
    if (!candidate.is_found) continue;
    Print(candidate);
    keys.push_back(candidate.key());
  }
  std::vector<IdRecord>& records = context_.buffers.records;
  records.assign(keys.size(), IdRecord{});
  if (!keys.empty()) {
    if (const absl::Status found = transaction.FindIds(keys, records); !found.ok()) return found;
  }
  staged_.Reset(keys, records);
  for (std::size_t i = 0, n = 0; i < count; ++i) {
    Candidate& candidate = candidates_[i];
    if (candidate.is_found) candidate.staged = staged_.NumberOf(n++);
  }
  return absl::OkStatus();
}

BatchEnd BatchTransaction::Mark() {
  if (work_.doomed) return BatchEnd::kDoomed;
  Candidate& first = candidates_.front();
  if (order_.is_single) Print(first);
  const bool is_invoked = first.identity.id_error.ok() && !first.failed;
  const SingleMessage single = {.key = {.scope = first.partition->scope,
                                        .id = is_invoked ? first.identity.id : std::string_view()},
                                .fingerprint = first.identity.fingerprint,
                                .number = first.number,
                                .offset = first.item->delivery.message().offset()};
  return MarkInvocations(context_.store, order_, order_.is_single ? &single : nullptr,
                         context_.retry.max_attempts, context_.executor.Now());
}

PassEnd BatchTransaction::Run(std::size_t count, bool is_careful) {
  letters_.clear();
  events_.clear();
  error_ = absl::OkStatus();
  retries_ = 0;
  by_sequence_ = 0;
  is_changed_ = false;
  now_ = context_.executor.Now();
  std::vector<PositionLock> locks;
  for (WorkPartition& partition : order_.partitions) {
    for (WorkItem& item : partition.items) item.verdict = Verdict::kUnsettled;
    partition.not_before = absl::InfinitePast();
    partition.stop = absl::OkStatus();
    locks.push_back(partition.lock);
  }
  ONCE_KILL_POINT("transaction.before_begin");
  absl::StatusOr<BeginResult> begun = context_.store.Begin(locks);
  if (!begun.ok()) return EndWith(PassEnd::kStoreTrouble, begun.status());
  if (begun->transaction == nullptr) {
    order_.mismatches = std::move(begun->mismatches);
    return PassEnd::kMismatch;
  }
  ONCE_KILL_POINT("transaction.begun");
  StoreTransaction& transaction = *begun->transaction;
  PassEnd end = PassEnd::kNothing;
  if (const absl::Status found = Lookup(transaction, count, is_careful); !found.ok()) {
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
  is_together_ = context_.batch_handler != nullptr && !is_careful && !order_.is_single;
  gathered_.clear();
  const bool is_drained_in_vain = ONCE_PLANTED_BUG("drained-work-discarded");
  if (is_drained_in_vain) (void)transaction.SetSavepoint();
  for (std::size_t i = 0; i < count; ++i) {
    if (work_.doomed) return PassEnd::kDoomed;
    // However late it is, at least one message per batch, and every failure that is known:
    // otherwise nothing would move, or a failed invocation would be repeated without being counted.
    // A recorded attempt is made, or it would be charged to a message that never ran.
    const bool is_late = i > 0 && context_.executor.Now() >= deadline_;
    const bool is_ending = (work_.finish_early && !order_.is_single) || is_late;
    if (i >= decided_end_ && is_ending) break;
    PassEnd end = PassEnd::kNothing;
    const Candidate& candidate = candidates_[i];
    const bool was_absent = candidate.number && candidate.is_found &&
                            staged_.Find(candidate.staged).state == IdState::kAbsent;
    if (!RunMessage(transaction, i, is_careful, end)) return end;
    if (candidate.number) SettleNumber(candidate, was_absent);
  }
  if (!gathered_.empty()) {
    PassEnd end = PassEnd::kNothing;
    if (!InvokeTogether(transaction, end)) return end;
  }
  if (is_drained_in_vain && work_.finish_early) (void)transaction.RollbackToSavepoint();
  return is_changed_ ? Finish(transaction) : PassEnd::kNothing;
}

bool BatchTransaction::RunMessage(StoreTransaction& transaction, std::size_t index, bool is_careful,
                                  PassEnd& end) {
  Candidate& candidate = candidates_[index];
  WorkPartition& partition = *candidate.partition;
  const bool is_blocked = partition.not_before > now_ || !partition.stop.ok();
  if (is_blocked && !ONCE_PLANTED_BUG("waiting-holds-nothing-back")) return true;
  if (IsSettledByNumber(candidate)) {
    candidate.item->verdict = Verdict::kDuplicate;
    is_changed_ = true;
    return true;
  }
  if (!candidate.identity.id_error.ok()) {
    const bool is_missing = candidate.identity.id_error.code() == absl::StatusCode::kNotFound;
    DeadLetter(candidate, {}, is_missing ? Disposition::kNoId : Disposition::kInvalidId,
               candidate.identity.id_error);
    return true;
  }
  if (!candidate.is_found) return Invoke(transaction, candidate, {}, is_careful, end);
  IdRecord record = WithoutRecorded(staged_.Find(candidate.staged), partition.attempt,
                                    candidate.message().offset());
  if (IsOfAnother(candidate, record)) record = {};
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
      if (ONCE_PLANTED_BUG("exhausted-invoked")) break;
      BuryExhausted(candidate, record);
      return true;
    case Judgement::kWait:
      if (record.state == IdState::kDying) WarnOfDying(candidate);
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
  if (is_together_) {
    Gather(candidate, record);
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
  ONCE_KILL_POINT("transaction.handled");
  message.SetContext({});
  if (context_.has_deadline) work_.cancellation.End();
  const absl::Status open = transaction.CheckOpen();
  const bool is_handlers_doing = open.code() == absl::StatusCode::kFailedPrecondition;
  // A handler that says so itself when one of its statements has failed is judged by its word.
  if (!open.ok() && (!is_handlers_doing || outcome.is_done())) {
    // Whatever ran after the end of our transaction is not in it. A store that ended it by itself
    // is in trouble; a handler that did has failed.
    if (is_handlers_doing) RememberFailure(candidate, Reject(ToStd(open.message())));
    end = EndWith(is_handlers_doing ? PassEnd::kFailedHandler : PassEnd::kStoreTrouble, open);
    return false;
  }
  if (outcome.is_done()) {
    StageCompleted(candidate, record.attempt + 1);
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
    // A handler that has ended the transaction itself leaves nothing to roll back to.
    const bool is_ended =
        is_handlers_doing && undone.code() == absl::StatusCode::kFailedPrecondition;
    if (is_ended) RememberFailure(candidate, std::move(outcome));
    end = EndWith(is_ended ? PassEnd::kFailedHandler : PassEnd::kStoreTrouble, undone);
    return false;
  }
  ONCE_KILL_POINT("transaction.undone");
  RememberFailure(candidate, std::move(outcome));
  DecideFailure(candidate, record, *candidate.failed);
  return true;
}

// Where its number says so, nothing needs to: what was recorded of failed attempts goes.
void BatchTransaction::StageCompleted(const Candidate& candidate, int attempt) {
  // Of what is new there is room for all of the batch.
  const bool is_told =
      candidate.number &&
      (candidate.is_new || candidate.partition->numbers->CanSettle(*candidate.number));
  if (!is_told) {
    staged_.Put(candidate.staged, {.state = IdState::kCompleted,
                                   .fingerprint = candidate.identity.fingerprint,
                                   .attempt = attempt});
  } else if (candidate.is_found && staged_.Find(candidate.staged).state == IdState::kRetrying &&
             !IsOfAnother(candidate, staged_.Find(candidate.staged))) {
    staged_.Put(candidate.staged, {});
  }
}

void BatchTransaction::RememberFailure(Candidate& candidate, Outcome outcome) {
  candidate.failed = std::move(outcome);
  const auto index = static_cast<std::size_t>(&candidate - candidates_.data());
  decided_end_ = std::max(decided_end_, index + 1);
}

PassEnd BatchTransaction::Finish(StoreTransaction& transaction) {
  std::vector<PositionUpdate> updates;
  const absl::Time now = context_.executor.Now();
  for (std::size_t i = 0; i < order_.partitions.size(); ++i) {
    WorkPartition& partition = order_.partitions[i];
    updates.push_back(NextPosition(partition, work_.foreseen_reaches[i], now));
    partition.committed = {.position = updates.back().position,
                           .revision = partition.lock.expected.revision + 1,
                           .writer = partition.lock.expected.writer};
  }
  std::vector<IdWrite>& writes = context_.buffers.writes;
  staged_.CopyWrites(writes);
  absl::Status status;
  if (!writes.empty()) status = transaction.PutIds(writes);
  if (status.ok()) status = transaction.PutOutgoing(letters_);
  if (status.ok()) status = StageNumbers(transaction, updates);
  if (status.ok()) status = transaction.SetPositions(updates);
  if (status.ok()) status = transaction.CheckOpen();
  if (!status.ok()) return EndWith(PassEnd::kStoreTrouble, status);
  if (work_.doomed) return PassEnd::kDoomed;
  ONCE_KILL_POINT("transaction.before_commit");
  // The relay publishes what it finds: what a power failure can undo must not be there.
  const bool may_wait = letters_.empty() || ONCE_PLANTED_BUG("letters-synced-later");
  order_.is_unsynced = context_.is_synced_later && may_wait;
  status = transaction.Commit(order_.is_unsynced ? Durability::kProcess : Durability::kMachine);
  ONCE_KILL_POINT("transaction.committed");
  if (status.ok() || status.code() == absl::StatusCode::kUnknown) {
    order_.retries += retries_;
    order_.by_sequence += by_sequence_;
    order_.letters += letters_.size();
  }
  const bool is_settled = status.ok() || (ONCE_PLANTED_BUG("unknown-commit-settles") &&
                                          status.code() == absl::StatusCode::kUnknown);
  if (is_settled) {
    for (std::size_t i = 0; i < updates.size(); ++i) {
      WorkPartition& partition = order_.partitions[i];
      partition.is_committed = true;
      partition.reach = updates[i].reach;
      partition.last_applied = updates[i].last_applied;
    }
    for (const LogEvent& event : events_) context_.log.Log(event);
    AdoptNumbers(updates);
    if (status.ok()) return PassEnd::kCommitted;
  }
  if (status.code() == absl::StatusCode::kUnknown) return EndWith(PassEnd::kUnknown, status);
  return EndWith(IsRefusal(status) ? PassEnd::kRefusedCommit : PassEnd::kStoreTrouble, status);
}

}  // namespace once
