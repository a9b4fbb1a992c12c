// Losses: who looks for them and when, and telling of what was found. What is missing is
// SequenceTracker's business, on the worker.
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/sequence.h"
#include "src/engine.h"
#include "src/store_errors.h"
#include "src/test_hooks.h"

namespace once {
namespace {

// How often side topics are looked at, and how soon again after trouble.
constexpr absl::Duration kMarksInterval = absl::Milliseconds(200);
constexpr absl::Duration kMarksRetry = absl::Seconds(5);
constexpr absl::Duration kJudgeIntervalMin = absl::Milliseconds(10);
constexpr absl::Duration kJudgeIntervalMax = absl::Seconds(1);
// In hand per partition, and read at once.
constexpr std::size_t kSideRecordsMax = 5000;
// How often side topics are read again for what there was no room for.
constexpr absl::Duration kRereadInterval = absl::Seconds(30);

std::string RangeOf(const LossEvent& event) {
  if (event.first == event.last) return absl::StrCat("number ", event.first);
  return absl::StrCat("numbers ", event.first, " to ", event.last);
}

}  // namespace

bool Engine::keeps_numbers() const { return has_rows() && options_.loss.mode == LossMode::kReport; }

// The row has been taken, or a fetch begins without one. What others may have written since is in
// the store; what only memory knows lasts as long as the assignment.
void Engine::BeginSequences(Partition& partition, bool is_taken) {
  if (options_.loss.mode == LossMode::kOff || partition.is_compacted) return;
  if (partition.sequences != nullptr && !(is_taken && keeps_numbers())) return;
  // What the former one was told of may concern this one too.
  is_marks_due_ = is_marks_due_ || partition.sequences != nullptr || partition.has_dropped_marks;
  partition.sequences =
      std::make_shared<SequenceTracker>(partition.key, options_.loss, keeps_numbers());
  partition.tracked = {.is_waiting = true};
  partition.judged = absl::InfinitePast();
}

// In a compacted topic a number that is missing may have been there. OK unless the broker must be
// asked again.
absl::Status Engine::AskWhetherCompacted(Partition& partition) {
  if (options_.loss.mode == LossMode::kOff) return absl::OkStatus();
  const std::string& topic = partition.name().topic;
  const auto known = compacted_.find(topic);
  if (known != compacted_.end()) {
    partition.is_compacted = known->second;
    return absl::OkStatus();
  }
  const absl::StatusOr<bool> told = source_.IsCompacted(topic);
  if (absl::IsUnavailable(told.status()) || absl::IsDeadlineExceeded(told.status())) {
    return told.status();
  }
  partition.is_compacted = compacted_[topic] = told.ok() && *told;
  if (partition.is_compacted) {
    Log(LogLevel::kWarning, "loss_not_tracked",
        "the topic is compacted: what is missing there proves no loss, and none is reported",
        &partition.name());
  } else if (!told.ok()) {
    Log(LogLevel::kInfo, "compaction_unknown",
        "should the topic be compacted, losses will be reported that are none: " +
            told.status().ToString(),
        &partition.name());
  }
  return absl::OkStatus();
}

// Every instance reads all side topics of its topics, from the beginning whenever a partition comes
// or its row is read again: what was heard before was for others, or was lost with them.
void Engine::FollowMarks(absl::Time now) {
  std::set<std::string> topics;
  for (const auto& [name, partition] : partitions_) topics.insert(name.topic);
  const absl::Status followed =
      options_.loss.marks->Follow(std::vector<std::string>(topics.begin(), topics.end()));
  if (followed.ok()) {
    is_marks_due_ = false;
    for (auto& [name, partition] : partitions_) {
      partition.side_records.clear();
      partition.is_read_anew = true;
      partition.has_dropped_marks = false;
    }
    return;
  }
  next_marks_ = now + kMarksRetry;
  Log(LogLevel::kWarning, "marks_unreadable", followed.ToString());
}

// A tracker had no room for some of what the side topics say.
void Engine::RereadDropped(absl::Time now) {
  const bool is_due = std::any_of(partitions_.begin(), partitions_.end(), [](const auto& entry) {
    const Partition& partition = entry.second;
    const TrackedPartition& tracked = partition.tracked;
    const bool is_dropped =
        partition.has_dropped_marks || (tracked.has_dropped && tracked.has_side_room);
    return partition.phase == PartitionPhase::kActive && is_dropped && !partition.is_read_anew;
  });
  if (!is_due || now < next_reread_) return;
  next_reread_ = now + kRereadInterval;
  is_marks_due_ = true;
  Log(LogLevel::kInfo, "marks_read_again",
      "there was no room for all that the side topics say; what is missing is reported after that");
}

void Engine::PollMarks(absl::Time now) {
  const bool is_wanted = options_.loss.marks != nullptr && options_.loss.mode != LossMode::kOff;
  if (!is_wanted || now < next_marks_) return;
  next_marks_ = now + kMarksInterval;
  RereadDropped(now);
  if (is_marks_due_) FollowMarks(now);
  // More is read once what is in hand is with the trackers.
  const bool is_full = std::any_of(partitions_.begin(), partitions_.end(), [](const auto& entry) {
    // Of a partition that stands still nothing is taken in hand, however long it does.
    const Partition& partition = entry.second;
    return partition.sequences != nullptr && partition.phase == PartitionPhase::kActive &&
           partition.side_records.size() >= kSideRecordsMax;
  });
  if (is_marks_due_ || is_full) return;
  const absl::StatusOr<std::vector<ReceivedMark>> received =
      options_.loss.marks->Poll(kSideRecordsMax);
  if (!received.ok()) {
    is_marks_due_ = true;
    next_marks_ = now + kMarksRetry;
    Log(LogLevel::kWarning, "marks_unreadable", received.status().ToString());
    return;
  }
  for (const ReceivedMark& mark : *received) KeepMark(mark);
  if (received->size() == kSideRecordsMax) next_marks_ = now;
}

// Of a partition that is somebody else's it is read again should that become ours.
void Engine::KeepMark(const ReceivedMark& received) {
  const std::optional<DecodedMark> decoded =
      DecodeMark(received.key, received.value, received.topic);
  if (!decoded) return;
  Partition* partition = Find({received.topic, decoded->partition});
  if (partition == nullptr || partition->is_compacted) return;
  const bool is_idle = partition->phase != PartitionPhase::kActive;
  if (is_idle && partition->side_records.size() >= kSideRecordsMax) {
    partition->has_dropped_marks = true;
    return;
  }
  partition->side_records.push_back(
      {.stream = PackStream(decoded->by), .mark = decoded->mark, .gone = decoded->gone});
}

// Often enough for the grace to be kept, and seldom enough to cost nothing.
absl::Duration Engine::JudgeInterval() const {
  return std::clamp(options_.loss.gap_grace / 4, kJudgeIntervalMin, kJudgeIntervalMax);
}

bool Engine::IsLossDue(const Partition& partition, absl::Time now) const {
  const bool is_wanted = partition.tracked.is_waiting || !partition.side_records.empty() ||
                         (partition.is_read_anew && partition.tracked.has_dropped);
  const bool is_full = partition.side_records.size() >= SequenceTracker::kMarksAtOnce;
  const absl::Duration interval = is_full ? kJudgeIntervalMin : JudgeInterval();
  const bool is_time = now - partition.judged >= interval;
  return partition.sequences != nullptr && partition.phase == PartitionPhase::kActive &&
         is_wanted && is_time;
}

std::int64_t Engine::LogTimeIn(const Partition& partition, absl::Time at_rest_since) const {
  const std::int64_t log_time_ms =
      partition.last_applied ? partition.last_applied->log_time_ms : partition.tracked.log_time_ms;
  return log_time_ms < 0 ? absl::ToUnixMillis(at_rest_since) : log_time_ms;
}

// Log time stands still where nothing arrives. How long a partition has been read to its end
// without anything new counts too: whatever the records are dated, each gap gets its grace.
absl::Duration Engine::RestIn(Partition& partition, absl::Time now) {
  const bool is_at_end = partition.queue.empty() && source_.Lag(partition.name()) == 0;
  if (!is_at_end || partition.tail_position != partition.expected.position) {
    partition.tail_position = is_at_end ? partition.expected.position : -1;
    partition.at_tail_since = now;
  }
  return now - partition.at_tail_since;
}

void Engine::SubmitLossCheck() {
  if (worker_.is_busy() || !fatal_.ok() || is_sync_doubtful_) return;
  const absl::Time now = executor_.Now();
  // Until then what is missing may have been given up.
  const bool may_report =
      options_.loss.marks == nullptr || (!is_marks_due_ && options_.loss.marks->has_caught_up());
  LossOrder loss;
  for (auto& [name, partition] : partitions_) {
    if (partition.sequences == nullptr) continue;
    const absl::Duration rest = RestIn(partition, now);
    if (!IsLossDue(partition, now)) continue;
    partition.judged = now;
    const std::int64_t log_time_ms = LogTimeIn(partition, now - rest);
    const std::int64_t waited_ms = absl::ToInt64Milliseconds(rest - options_.loss.gap_grace);
    const bool may_report_here = may_report && !partition.has_dropped_marks;
    loss.items.push_back({.lock = {.key = partition.key, .expected = partition.expected},
                          .assignment = partition.assignment,
                          .reach = partition.reach,
                          .last_applied = partition.last_applied,
                          .sequences = partition.sequences,
                          .is_gap_lost = partition.is_gap_lost,
                          .is_rowless = !has_rows(),
                          .log_time_ms = log_time_ms,
                          .seen_until_ms = may_report_here
                                               ? log_time_ms + waited_ms
                                               : std::numeric_limits<std::int64_t>::min(),
                          .side_records = std::exchange(partition.side_records, {}),
                          .is_read_anew = std::exchange(partition.is_read_anew, false)});
  }
  if (loss.items.empty()) return;
  auto order = std::make_unique<WorkOrder>();
  order->loss = std::move(loss);
  worker_.Submit(std::move(order));
}

void Engine::ApplyLoss(LossOrder& order) {
  TellLosses(order.losses, order.unstamped);
  const bool is_unknown = order.end.code() == absl::StatusCode::kUnknown;
  if (!order.end.ok() && order.mismatches.empty()) {
    if (!IsTransientTrouble(order.end)) fatal_ = Annotate(order.end, "looking for losses");
    Log(LogLevel::kWarning, "loss_check_failed", order.end.ToString());
  }
  for (std::size_t i = 0; i < order.items.size(); ++i) {
    LossOrder::Item& item = order.items[i];
    Partition* partition = FindIfCurrent(item.lock.key.partition, item.assignment);
    if (partition == nullptr || partition->sequences != item.sequences) continue;
    partition->side_records.insert(partition->side_records.begin(),
                                   std::make_move_iterator(item.side_records.begin()),
                                   std::make_move_iterator(item.side_records.end()));
    partition->expected = item.lock.expected;
    if (partition->phase != PartitionPhase::kActive) continue;
    if (order.end.ok()) {
      NoteTracked(*partition, item.tracked);
    } else if (is_unknown) {
      Reread(*partition);
    }
  }
  for (const BeginResult::Mismatch& mismatch : order.mismatches) {
    const LossOrder::Item& item = order.items[mismatch.lock];
    Partition* partition = FindIfCurrent(item.lock.key.partition, item.assignment);
    const bool is_active = partition != nullptr && partition->phase == PartitionPhase::kActive &&
                           partition->expected == item.lock.expected;
    if (is_active) HandleMismatch(*partition, mismatch.actual);
  }
}

void Engine::NoteTracked(Partition& partition, const TrackedPartition& tracked) {
  const bool is_other = partition.tracked.missing != tracked.missing;
  partition.tracked = tracked;
  if (!is_other) return;
  const std::string number = std::to_string(partition.name().partition);
  const Label labels[] = {{"destination", partition.name().topic}, {"partition", number}};
  options_.metrics->Set("once_loss_missing_messages", labels, static_cast<double>(tracked.missing));
}

void Engine::TellLosses(const std::vector<LossEvent>& losses, std::uint64_t unstamped) {
  ConsumerStats counts{.unstamped = unstamped};
  for (const LossEvent& event : losses) {
    const std::uint64_t size = event.last - event.first + 1;
    if (event.kind == LossKind::kSuspected) counts.suspected += size;
    if (event.kind == LossKind::kRecovered) counts.recovered += size;
    TellLoss(event);
  }
  if (unstamped > 0 || !losses.empty()) Publish(counts);
}

void Engine::TellLoss(const LossEvent& event) {
  const std::vector<LogField> fields = {{"once.loss.producer", event.producer},
                                        {"once.loss.epoch", std::to_string(event.epoch)},
                                        {"once.loss.first", std::to_string(event.first)},
                                        {"once.loss.last", std::to_string(event.last)}};
  const std::string of = absl::StrCat(RangeOf(event), " of producer ", event.producer);
  switch (event.kind) {
    case LossKind::kSuspected:
      Log(LogLevel::kError, "loss_suspected",
          of + " did not arrive, and others behind it did; `once loss report` has the whole list",
          &event.partition, fields);
      break;
    case LossKind::kRecovered:
      Log(LogLevel::kInfo, "loss_recovered",
          of + " was missing and is accounted for: it arrived late, or its producer gave it up",
          &event.partition, fields);
      break;
    case LossKind::kGivenUp:
      Log(LogLevel::kError, "loss_given_up",
          of + " is missing and no longer looked for: the stream has more gaps than "
               "loss.ranges_max",
          &event.partition, fields);
      break;
  }
  if (options_.loss.on_loss) options_.loss.on_loss(event);
}

}  // namespace once
