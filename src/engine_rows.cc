// Position rows: taking them over, noticing that somebody else or a rollback changed them, and
// leaving them as a clean end. Where a partition then goes on is engine_start.cc's business.
#include <algorithm>
#include <memory>
#include <utility>

#include "once/abseil.h"
#include "src/engine.h"
#include "src/store_errors.h"
#include "src/test_hooks.h"

namespace once {

// Runs after a poll of the same turn, so that rebalance events come before any reading of a row: a
// zombie learns that it is one instead of stealing the row.
void Engine::ServeUnread() {
  if (worker_.is_busy()) return;
  RereadUnsynced();
  const absl::Time now = executor_.Now();
  DescribeUnread(now);
  VerifyUnread(now);
  TakeOrder take;
  RowsOrder moves;
  for (auto& [name, partition] : partitions_) {
    const bool is_ready = partition.phase == PartitionPhase::kUnread &&
                          partition.not_before <= now && !partition.needs_verification &&
                          !partition.needs_description;
    if (!is_ready) continue;
    if (!has_rows()) {
      BeginPlanned(partition);
    } else if (partition.plan && partition.plan->action == StartAction::kMoveRow) {
      moves.locks.push_back({.key = partition.key, .expected = partition.expected});
      moves.updates.push_back({.key = partition.key,
                               .position = partition.plan->position,
                               .reach = partition.plan->position});
      moves.assignments.push_back(partition.assignment);
    } else {
      const bool may_create = partition.plan.has_value();
      partition.phase = PartitionPhase::kReading;
      take.requests.push_back({.key = partition.key,
                               .writer = ONCE_PLANTED_BUG("writer-tag-kept") && partition.was_taken
                                             ? partition.expected.writer
                                             : options_.random->Next(),
                               .start = may_create ? partition.plan->position : 0,
                               .may_create = may_create});
      take.assignments.push_back(partition.assignment);
    }
  }
  if (take.requests.empty() && moves.locks.empty()) return;
  auto order = std::make_unique<WorkOrder>();
  if (!take.requests.empty()) {
    order->take = std::move(take);
  } else {
    for (const PositionLock& lock : moves.locks) {
      Find(lock.key.partition)->phase = PartitionPhase::kReading;
    }
    order->rows = std::move(moves);
  }
  worker_.Submit(std::move(order));
}

// A row that this consumer had taken is read again, because somebody else or a rollback changed it,
// or because a commit's answer was lost. Only a commit that carries our generation proves that the
// partition is still ours to take. Where the group's offset is somebody else's word, it is
// committed as it stands: it may still have to be read. A start that is planned elsewhere is
// committed before it is carried out, so that whoever comes next begins there too.
void Engine::VerifyUnread(absl::Time now) {
  std::vector<PartitionOffset> positions;
  for (const auto& [name, partition] : partitions_) {
    const bool is_due = partition.phase == PartitionPhase::kUnread &&
                        partition.needs_verification && !partition.needs_description &&
                        partition.not_before <= now;
    if (!is_due) continue;
    PartitionOffset& position = positions.emplace_back();
    position.partition = name;
    if (partition.plan) {
      position.offset = partition.plan->position;
      position.metadata = MarkOf(partition.plan->commit_began);
    } else if (partition.bounds && partition.bounds->committed) {
      position.offset = *partition.bounds->committed;
      position.metadata = partition.bounds->committed_metadata;
    } else {
      position.offset = partition.is_row_lost && partition.bounds
                            ? partition.began.value_or(partition.bounds->first)
                            : partition.durable_position();
      position.metadata = MarkOf(partition.began);
    }
  }
  if (positions.empty()) return;
  const absl::Status verified = source_.Commit(positions, CommitMode::kVerified);
  for (const PartitionOffset& position : positions) {
    Partition* partition = Find(position.partition);
    if (partition == nullptr) continue;
    if (verified.ok()) {
      partition->needs_verification = false;
      continue;
    }
    PutOff(*partition, ++partition->trouble, now);
    Log(LogLevel::kWarning, "not_verified",
        "the row must be taken again, and the broker does not confirm that this consumer is still "
        "its owner: " +
            verified.ToString(),
        &position.partition);
  }
}

// From now on the row is not trusted: it will be taken again.
void Engine::Reread(Partition& partition) {
  partition.phase = PartitionPhase::kUnread;
  partition.needs_verification =
      has_rows() ? partition.was_taken : partition.plan && partition.plan->commits_first;
  partition.needs_description = partition.needs_description || !has_rows();
}

void Engine::ApplyTake(const TakeOrder& order) {
  const absl::Time now = executor_.Now();
  if (!order.result.ok() && !IsTransientTrouble(order.result.status())) {
    fatal_ = Annotate(order.result.status(), "taking position rows");
  }
  for (std::size_t i = 0; i < order.requests.size(); ++i) {
    Partition* partition = FindIfCurrent(order.requests[i].key.partition, order.assignments[i]);
    if (partition == nullptr || partition->phase != PartitionPhase::kReading) continue;
    if (order.result.ok()) {
      ApplyRow(*partition, (*order.result)[i]);
    } else {
      Reread(*partition);  // with a fresh tag
      ApplyTrouble(*partition, order.result.status(), now);
    }
  }
}

// The row as it was found, and made ours.
void Engine::ApplyRow(Partition& partition, const TakenPosition& taken) {
  const bool has_happened = partition.unknown_commit && taken.previous == partition.unknown_commit;
  if (has_happened) {
    Log(LogLevel::kInfo, "commit_known", "the commit whose answer was lost did happen",
        &partition.name());
    if (partition.unknown_counts != nullptr) {
      Publish(std::exchange(*partition.unknown_counts, ConsumerStats{}));
    }
    partition.attempt.reset();
  }
  partition.unknown_commit.reset();
  partition.unknown_counts.reset();
  partition.trouble = 0;
  if (!taken.exists) {
    partition.is_row_lost = partition.is_row_lost || partition.was_taken;
    PlanOrDescribe(partition, taken);
    return;
  }
  const bool is_ours =
      partition.was_taken && taken.previous && taken.previous->writer == partition.expected.writer;
  if (!is_ours) {
    // Another process, or an earlier one of ours: did it end while handlers may have run?
    // Of this assignment's suspects none is cleared by a row that was written among them.
    const std::int64_t known = partition.was_taken ? partition.suspect_until : 0;
    partition.suspect_until =
        taken.reach > taken.current.position ? std::max(known, taken.reach) : known;
    partition.attempt.reset();
  }
  BeginSequences(partition, true);
  const bool is_made = partition.plan && !taken.previous;
  BeginNumbers(partition);
  partition.was_taken = true;
  partition.is_row_lost = false;
  partition.last_checked = executor_.Now();
  partition.reach = taken.reach;
  partition.last_applied = taken.last_applied;
  partition.synced_position.reset();  // the taking was synced, with all before it
  const std::int64_t known = std::exchange(partition.expected, taken.current).position;
  if (is_made) {
    BeginPlanned(partition);
  } else if (partition.bounds || taken.directive != PositionDirective::kNone) {
    PlanOrDescribe(partition, taken);
  } else {
    partition.phase = PartitionPhase::kActive;
    const bool is_aligned = partition.is_fetching && taken.current.position == known;
    const bool is_ignored = ONCE_PLANTED_BUG("row-position-ignored") && partition.is_fetching;
    if (!is_aligned && !is_ignored) Realign(partition, taken.current.position);
  }
}

// What others may have settled since is in the store.
void Engine::BeginNumbers(Partition& partition) {
  if (options_.scope) return;
  partition.numbers =
      std::make_shared<SettledNumbers>(partition.key, options_.dedup, options_.loss.streams_max);
}

void Engine::ApplyRows(const RowsOrder& order) {
  const absl::Time now = executor_.Now();
  const bool is_unknown = order.end.code() == absl::StatusCode::kUnknown;
  const bool is_fatal = !order.end.ok() && !IsTransientTrouble(order.end);
  // An end that could not be called clean costs the next owner some time, and nothing else.
  if (is_fatal && !order.is_clean_end) fatal_ = Annotate(order.end, "writing position rows");
  for (std::size_t i = 0; i < order.locks.size(); ++i) {
    Partition* partition = FindIfCurrent(order.locks[i].key.partition, order.assignments[i]);
    if (partition == nullptr || partition->expected != order.locks[i].expected) continue;
    const auto mismatch =
        std::find_if(order.mismatches.begin(), order.mismatches.end(),
                     [i](const BeginResult::Mismatch& left_out) { return left_out.lock == i; });
    if (mismatch != order.mismatches.end()) {
      HandleMismatch(*partition, mismatch->actual);
      continue;
    }
    if (!order.end.ok()) {
      if (is_unknown) partition->plan.reset();  // the row says what is left to do
      Reread(*partition);
      ApplyTrouble(*partition, order.end, now);
      continue;
    }
    partition->expected.position = order.updates[i].position;
    ++partition->expected.revision;
    partition->reach = order.updates[i].reach;
    partition->last_applied = order.updates[i].last_applied;
    if (partition->phase == PartitionPhase::kReading) BeginPlanned(*partition);
  }
}

// Records that no handler was cut off in these partitions: their next owner may run batches at
// once. After somebody else's unclean end it records instead who is still suspect. Only what is
// sure: not while the worker is busy with something.
void Engine::LeaveClean(std::span<const TopicPartition> partitions, absl::Time deadline) {
  if (worker_.is_busy() || !has_rows() || !fatal_.ok()) return;
  RowsOrder rows{.is_clean_end = true};
  for (const TopicPartition& name : partitions) {
    const Partition* partition = Find(name);
    if (partition == nullptr || partition->phase != PartitionPhase::kActive) continue;
    const std::int64_t reach =
        partition->is_suspect() ? partition->suspect_until : partition->expected.position;
    const bool is_told =
        partition->is_suspect() ? partition->reach >= reach : partition->reach <= reach;
    if (is_told) continue;
    rows.locks.push_back({.key = partition->key, .expected = partition->expected});
    rows.updates.push_back({.key = partition->key,
                            .position = partition->expected.position,
                            .reach = reach,
                            .last_applied = partition->last_applied});
    rows.assignments.push_back(partition->assignment);
  }
  if (rows.locks.empty()) return;
  auto order = std::make_unique<WorkOrder>();
  order->rows = std::move(rows);
  worker_.Submit(std::move(order));
  if (worker_.WaitUntilDone(deadline)) Collect();
}

bool Engine::IsAuditDue(const Partition& partition, absl::Time now) const {
  const absl::Duration interval = options_.times.idle_audit;
  const bool is_audited =
      partition.phase == PartitionPhase::kActive || partition.phase == PartitionPhase::kStopped;
  return has_rows() && interval > absl::ZeroDuration() && is_audited &&
         now - partition.last_checked >= interval;
}

// Compares the stored rows with the ones in memory where nothing else does: partitions without
// traffic, and stopped ones, whose way on may be an operator's order.
void Engine::SubmitAudit() {
  const absl::Time now = executor_.Now();
  if (worker_.is_busy() || ONCE_PLANTED_BUG("idle-rows-not-audited")) return;
  AuditOrder audit;
  for (auto& [name, partition] : partitions_) {
    if (!IsAuditDue(partition, now)) continue;
    partition.last_checked = now;
    audit.locks.push_back({.key = partition.key, .expected = partition.expected});
    audit.assignments.push_back(partition.assignment);
  }
  if (audit.locks.empty()) return;
  auto order = std::make_unique<WorkOrder>();
  order->audit = std::move(audit);
  worker_.Submit(std::move(order));
}

void Engine::ApplyAudit(const AuditOrder& order) {
  if (!order.result.ok()) {
    Log(LogLevel::kWarning, "audit_failed", order.result.status().ToString());
    if (!IsTransientTrouble(order.result.status())) {
      fatal_ = Annotate(order.result.status(), "idle audit");
    }
    return;
  }
  for (std::size_t i = 0; i < order.locks.size(); ++i) {
    const PositionLock& lock = order.locks[i];
    const std::optional<PositionStamp>& actual = (*order.result)[i];
    Partition* partition = FindIfCurrent(lock.key.partition, order.assignments[i]);
    if (partition == nullptr || partition->expected != lock.expected || actual == lock.expected) {
      continue;
    }
    if (partition->phase == PartitionPhase::kActive) {
      HandleMismatch(*partition, actual);
    } else if (partition->phase == PartitionPhase::kStopped && actual &&
               actual->writer != lock.expected.writer) {
      WakeStopped(*partition);
    }
  }
}

void Engine::HandleMismatch(Partition& partition, const std::optional<PositionStamp>& actual) {
  if (actual && ONCE_PLANTED_BUG("mismatch-adopted")) {
    partition.expected = *actual;
    return;
  }
  partition.plan.reset();
  Reread(partition);
  if (!actual) {
    // The store lost the row, and with it every id and effect since the row was made: read again
    // from where this store began, or else from the oldest message there is.
    Log(LogLevel::kError, "row_lost", "the store has no row any more; replaying",
        &partition.name());
    partition.is_row_lost = true;
    partition.needs_description = true;
    return;
  }
  if (actual->writer == partition.expected.writer) {
    Log(LogLevel::kError, "store_rolled_back",
        "the row is at revision " + std::to_string(actual->revision) + ", not " +
            std::to_string(partition.expected.revision) + ": the store lost commits; replaying",
        &partition.name());
    return;
  }
  Publish({.fenced = 1});
  Log(LogLevel::kWarning, "fenced", "somebody else has written the position row",
      &partition.name());
}

}  // namespace once
