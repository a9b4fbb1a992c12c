// Where a partition goes on: asking the broker, carrying out what PlanStart decides, and setting
// the buffer to it.
#include <algorithm>
#include <utility>

#include "once/abseil.h"
#include "src/engine.h"
#include "src/store_mark.h"
#include "src/test_hooks.h"

namespace once {
namespace {

// How often a position beyond the log's end is looked at before it is believed.
constexpr int kBeyondEndChecks = 4;

// What is missing, for whoever reads the event by a program.
std::vector<LogField> FieldsOf(const std::optional<OffsetRange>& gap) {
  if (!gap) return {};
  return {{"once.gap.first", std::to_string(gap->first)},
          {"once.gap.end", std::to_string(gap->end)}};
}

// Gaps that a test build may hide, or invent.
void MisreportGap(StartPlan& plan, bool has_told) {
  const bool is_hidden = ONCE_PLANTED_BUG("gap-not-reported") ||
                         (ONCE_PLANTED_BUG("only-first-gap-reported") && has_told);
  if (is_hidden && std::exchange(plan.gap, std::nullopt)) plan.findings.clear();
  if (!ONCE_PLANTED_BUG("gap-invented") || plan.action == StartAction::kStop) return;
  plan.gap = OffsetRange{.first = plan.position, .end = plan.position + 1};
  plan.findings.push_back({.level = LogLevel::kError, .action = "gap", .message = "invented"});
}

}  // namespace

void Engine::DescribeUnread(absl::Time now) {
  std::vector<TopicPartition> names;
  for (const auto& [name, partition] : partitions_) {
    const bool is_due = partition.phase == PartitionPhase::kUnread && partition.not_before <= now;
    if (is_due && partition.needs_description) names.push_back(name);
  }
  if (names.empty()) return;
  const absl::StatusOr<std::vector<PartitionBounds>> bounds = source_.Describe(names);
  std::map<std::string, absl::StatusOr<absl::Duration>> retentions;  // by topic
  for (const TopicPartition& name : names) {
    if (!retentions.contains(name.topic)) retentions[name.topic] = ReadRetention(name.topic);
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    Partition* partition = Find(names[i]);
    if (partition == nullptr) continue;
    partition->log_retention = retentions[names[i].topic];
    absl::Status described = bounds.ok() ? (*bounds)[i].status : bounds.status();
    // A broker that is away is asked again; one that does not tell would never.
    const absl::Status& told = partition->log_retention.status();
    if (absl::IsUnavailable(told) || absl::IsDeadlineExceeded(told)) described.Update(told);
    if (described.ok()) described = AskWhetherCompacted(*partition);
    if (described.ok()) {
      ApplyBounds(*partition, (*bounds)[i]);
      continue;
    }
    PutOff(*partition, ++partition->trouble, now);
    Log(LogLevel::kWarning, "not_described", described.ToString(), &names[i]);
  }
}

// What a store with positions remembers for plain handlers it never forgets.
absl::Duration Engine::RetentionInUse() const {
  const bool is_for_ever = !has_rows() && options_.store->transactions() != nullptr;
  return is_for_ever ? absl::InfiniteDuration() : options_.store->traits().retention;
}

// Nobody needs to know of what a store never forgets.
absl::StatusOr<absl::Duration> Engine::ReadRetention(const std::string& topic) {
  if (RetentionInUse() == absl::InfiniteDuration()) return absl::InfiniteDuration();
  return source_.ReadRetention(topic);
}

void Engine::ApplyBounds(Partition& partition, const PartitionBounds& bounds) {
  partition.needs_description = false;
  partition.bounds = bounds;
  partition.plan.reset();
  // The cluster's id may have become known only after the assignment.
  partition.key.cluster = source_.traits().cluster;
  if (has_rows()) return;
  if (partition.was_taken) {
    // Of a plain handler's partition, what was settled in this assignment is better known here.
    partition.bounds->committed = partition.tracker.watermark();
    partition.bounds->committed_metadata = MarkOf(partition.began);
  }
  PlanOrDescribe(partition, {.current = {}, .exists = false});
}

// The metadata of commits to the broker.
std::string Engine::MarkOf(std::optional<std::int64_t> began) const {
  const StoreTraits traits = options_.store->traits();
  return FormatStoreMark({.store_id = traits.id, .open_count = traits.open_count, .began = began});
}

// Decides where to go on, once the broker has been asked.
void Engine::PlanOrDescribe(Partition& partition, const TakenPosition& taken) {
  if (!partition.bounds) {
    Reread(partition);
    partition.needs_description = true;
    return;
  }
  const StoreTraits store = options_.store->traits();
  StartFacts facts{.key = partition.key,
                   .store_id = store.id,
                   .open_count = store.open_count,
                   .is_store_shared = store.is_shared,
                   .has_rows = has_rows(),
                   .last_applied = taken.last_applied,
                   .directive = taken.directive,
                   .other_cluster = taken.other_cluster,
                   .is_row_lost = partition.is_row_lost,
                   .began = partition.began,
                   .bounds = *partition.bounds,
                   .is_end_certain = partition.beyond_end_checks + 1 >= kBeyondEndChecks,
                   .store_retention = RetentionInUse(),
                   .log_retention = partition.log_retention,
                   .redelivery_horizon = options_.redelivery_horizon,
                   .short_retention = options_.short_retention,
                   .start = options_.start,
                   .out_of_range = options_.out_of_range,
                   .foreign_store = options_.foreign_store};
  if (taken.exists) facts.row = taken.current.position;
  CarryOut(partition, PlanStart(facts));
}

void Engine::CarryOut(Partition& partition, StartPlan plan) {
  if (plan.action == StartAction::kAskAgain) {
    // The former owner may have committed after the bounds were asked for, and a new leader may not
    // yet know how far its log is readable: ask again before believing it.
    ++partition.beyond_end_checks;
    Reread(partition);
    partition.needs_description = true;
    PutOff(partition, partition.beyond_end_checks, executor_.Now());
    return;
  }
  partition.beyond_end_checks = 0;
  MisreportGap(plan, stats().gaps > 0);
  if (plan.gap) Publish({.gaps = 1});
  partition.is_gap_lost = plan.gap.has_value();
  if (plan.is_retention_short) is_retention_short_ = true;
  for (const StartFinding& finding : plan.findings) {
    Log(finding.level, finding.action, finding.message, &partition.name(), FieldsOf(plan.gap));
    CountFinding(finding.action);
  }
  if (plan.action == StartAction::kStop) {
    CountFinding(plan.stop_finding);
    if (!partition.was_taken) partition.expected = {.position = plan.position};
    StopPartition(partition, plan.stop, FieldsOf(plan.gap));
    return;
  }
  const bool is_at_once = plan.action == StartAction::kGoOn && !plan.commits_first;
  partition.phase = PartitionPhase::kUnread;
  partition.needs_verification = plan.commits_first;
  partition.plan = std::move(plan);
  if (is_at_once) BeginPlanned(partition);
}

void Engine::CountFinding(std::string_view finding) {
  const Label labels[] = {{"finding", finding}};
  options_.metrics->Add("once_start_findings_total", labels, 1);
}

// The plan was carried out as far as store and broker are concerned: the partition goes on there.
// REQUIRES: partition.plan is set.
void Engine::BeginPlanned(Partition& partition) {
  const StartPlan plan = *std::exchange(partition.plan, std::nullopt);
  if (plan.action == StartAction::kMoveRow) {
    // An order, or a decision that another log is meant: what was cut off before is of no interest.
    partition.suspect_until = 0;
    partition.attempt.reset();
  }
  if (!has_rows()) {
    partition.was_taken = true;
    partition.expected.position = plan.position;
  }
  partition.phase = PartitionPhase::kActive;
  partition.trouble = 0;
  partition.last_checked = executor_.Now();
  partition.began = plan.began;
  partition.bounds.reset();
  BeginSequences(partition, false);
  Realign(partition, plan.position, plan.witness);
}

// Sets the buffer to `position`: trims what is settled, or fetches anew when the position lies
// outside of what is buffered. A fetch begins with the witness, if there is one.
void Engine::Realign(Partition& partition, std::int64_t position,
                     std::optional<AppliedRecord> witness) {
  const std::int64_t oldest = partition.queue.empty() ? partition.tracker.next()
                                                      : partition.queue.front().message().offset();
  const bool is_buffered =
      partition.is_fetching && position >= oldest && position <= partition.tracker.next();
  if (is_buffered) {
    while (!partition.queue.empty() && partition.queue.front().message().offset() < position) {
      partition.tracker.Settle(partition.queue.front().message().offset());
      --buffered_messages_;
      buffered_bytes_ -= partition.queue.front().bytes();
      partition.queue.pop_front();
    }
    return;
  }
  if (partition.is_fetching) {
    Log(LogLevel::kWarning, "replay",
        "the store says " + std::to_string(position) + "; fetching again from there",
        &partition.name());
  }
  Forget(partition);
  partition.tracker = OffsetTracker(position);
  partition.witness = witness;
  partition.not_before = absl::InfinitePast();
  const PartitionOffset start{.partition = partition.name(), .offset = partition.fetch_next()};
  if (const absl::Status started = source_.Start(std::span(&start, 1)); !started.ok()) {
    Log(LogLevel::kWarning, "start_failed", started.ToString(), &partition.name());
    Reread(partition);
    // So that the next reading decides anew, the witness included.
    partition.needs_description = true;
    partition.trouble = partition.restarts++;
    ApplyTrouble(partition, started, executor_.Now());
    return;
  }
  partition.is_fetching = true;
  partition.is_paused = false;
  partition.committed_hint = -1;
}

// The first message of a fetch that began with the last applied record: is it that record still?
// True when the message has served its purpose; the partition may have been stopped.
bool Engine::MeetWitness(Partition& partition, const Message& message) {
  const AppliedRecord witness = *std::exchange(partition.witness, std::nullopt);
  // Deleted meanwhile, or compacted away: proves nothing.
  if (message.offset() != witness.offset) return false;
  const AppliedRecord found{.offset = message.offset(),
                            .timestamp_ms = message.timestamp_ms(),
                            .fingerprint = Fingerprint::Of(message.value())};
  const bool is_known = witness.timestamp_ms >= 0 && found.timestamp_ms >= 0;
  const bool is_other = (is_known && witness.timestamp_ms != found.timestamp_ms) ||
                        !witness.fingerprint.Matches(found.fingerprint);
  if (is_other) {
    CountFinding("other_topic");
    StopPartition(partition,
                  OtherTopicError(partition.key, witness, found, partition.expected.position));
  }
  return true;
}

// Somebody else has written the row of a stopped partition: an operator's order, most likely. It is
// read as if it had just been assigned.
void Engine::WakeStopped(Partition& partition) {
  Log(LogLevel::kInfo, "woken",
      "the row of the stopped partition was written by somebody else: reading it again",
      &partition.name());
  Unlist(partition.name());
  Reread(partition);
  partition.needs_description = true;
  partition.not_before = absl::InfinitePast();
  partition.stop_reason = absl::OkStatus();
  partition.trouble = 0;
  partition.restarts = 0;
}

}  // namespace once
