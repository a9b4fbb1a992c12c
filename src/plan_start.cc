// The table behind PlanStart(). Where two facts speak against each other, the choice is the one
// that loses nothing: ids that are in the store keep what is replayed from being applied again.
#include "src/plan_start.h"

#include <algorithm>
#include <utility>

#include "once/abseil.h"
#include "src/position_command.h"
#include "src/store_mark.h"

namespace once {
namespace {

std::string Text(std::int64_t number) { return std::to_string(number); }

class Planner {
 public:
  explicit Planner(const StartFacts& facts) : facts_(facts), bounds_(facts.bounds) {
    if (bounds_.committed) mark_ = ParseStoreMark(bounds_.committed_metadata);
    began_ = facts.began;
    if (!began_ && IsOurs()) began_ = mark_->began;
    if (facts.row && began_.value_or(0) > *facts.row) began_.reset();
  }

  StartPlan Plan() {
    if (facts_.directive != PositionDirective::kNone) {
      Obey();
    } else if (!facts_.has_rows) {
      PlanWithoutRows();
    } else if (facts_.row) {
      PlanFromRow();
    } else {
      PlanNewRow();
    }
    const bool is_set = facts_.directive == PositionDirective::kSet;
    if (plan_.action != StartAction::kStop && !is_set) CheckRange();
    if (plan_.action != StartAction::kStop && plan_.action != StartAction::kAskAgain) {
      CheckRetention();
    }
    if (facts_.has_rows) {
      PlanBegan();
    } else {
      // Should a transactional handler follow, it begins where this one ends.
      plan_.commit_began = plan_.position;
    }
    return std::move(plan_);
  }

 private:
  bool IsOurs() const { return mark_ && mark_->store_id == facts_.store_id; }
  bool IsForeign() const { return mark_ && mark_->store_id != facts_.store_id; }

  void GoTo(StartAction action, std::int64_t position) {
    plan_.action = action;
    plan_.position = position;
  }
  // The row, if there are rows, becomes `position`, whether there is one or not.
  void SetTo(std::int64_t position) {
    const StartAction by_row = facts_.row ? StartAction::kMoveRow : StartAction::kMakeRow;
    GoTo(facts_.has_rows ? by_row : StartAction::kGoOn, position);
    plan_.witness.reset();
  }
  void Find(LogLevel level, std::string_view action, std::string message) {
    plan_.findings.push_back({.level = level, .action = action, .message = std::move(message)});
  }
  void Stop(std::string_view finding, absl::Status reason) {
    plan_.stop_finding = finding;
    plan_.commits_first = false;
    plan_.witness.reset();
    plan_.action = StartAction::kStop;
    plan_.position = facts_.row.value_or(bounds_.committed.value_or(0));
    plan_.stop = std::move(reason);
  }
  std::string Command(std::string_view verb, std::string_view argument) const {
    return PositionCommand(facts_.key, verb, argument);
  }
  std::int64_t ChosenStart() const {
    return facts_.start == StartAt::kLatest ? bounds_.end : bounds_.first;
  }

  void Obey();
  void PlanFromRow();
  void PlanNewRow();
  void PlanWithoutRows();
  void MeetForeignStore();
  void AdoptForeign();
  void NoticeOlderCopy();
  void CheckRange();
  void CheckRetention();
  void PlanBegan();

  const StartFacts& facts_;
  const PartitionBounds& bounds_;
  std::optional<StoreMark> mark_;
  std::optional<std::int64_t> began_;
  bool is_adoption_ = false;
  StartPlan plan_;
};

// The row changes at once, so that an order is obeyed at one moment, not at every start until a
// message comes.
void Planner::Obey() {
  switch (facts_.directive) {
    case PositionDirective::kAdopt:
      if (!bounds_.committed) {
        Stop(
            "order_without_offset",
            absl::FailedPreconditionError(
                "an operator ordered to go on at the group's offset, and the group has none; order "
                "a position instead: " +
                Command("set", "OFFSET") + ", a number, earliest or latest"));
        return;
      }
      SetTo(*bounds_.committed);
      break;
    case PositionDirective::kEarliest:
      SetTo(bounds_.first);
      break;
    case PositionDirective::kLatest:
      SetTo(bounds_.end);
      break;
    case PositionDirective::kSet:
    case PositionDirective::kNone:
      SetTo(facts_.row.value_or(0));
      break;
  }
  plan_.commits_first = true;
  Find(LogLevel::kInfo, "order_obeyed", "an operator's order: going on at " + Text(plan_.position));
}

void Planner::PlanFromRow() {
  const std::int64_t row = *facts_.row;
  GoTo(StartAction::kGoOn, row);
  plan_.witness = facts_.last_applied;
  if (!bounds_.committed) return;
  const std::int64_t committed = *bounds_.committed;
  if (IsForeign()) {
    if (committed > row) {
      MeetForeignStore();
    } else {
      Find(LogLevel::kInfo, "foreign_store",
           "another store, " + mark_->store_id + ", worked this partition up to " +
               Text(committed) + ", which this store has handled too");
    }
    return;
  }
  if (IsOurs() && mark_->began.value_or(row) > row) {
    AdoptForeign();
    Find(LogLevel::kWarning, "foreign_store",
         "the group's offset " + Text(committed) +
             " is this store's, which came there without its row: a plain handler did, or an "
             "adoption that was cut off; going on there");
    return;
  }
  if (IsOurs() && committed > row) {
    Find(LogLevel::kError, "store_rolled_back",
         "the group's offset is " + Text(committed) + ", and this store has handled the messages " +
             "below " + Text(row) + " only: it has lost commits; replaying from there");
    return;
  }
  if (IsOurs()) {
    NoticeOlderCopy();
    return;
  }
  if (committed == row || facts_.store_id.empty()) return;
  Find(LogLevel::kWarning, "offsets_reset",
       "somebody set the group's offset to " + Text(committed) + "; this consumer goes on at " +
           Text(row) + ", which its store says; to move it: " + Command("set", Text(committed)));
}

void Planner::PlanNewRow() {
  if (facts_.is_row_lost) {
    // Committed first: whoever comes next without a row begins there too.
    SetTo(began_.value_or(bounds_.first));
    plan_.commits_first = true;
    return;
  }
  if (IsForeign()) {
    MeetForeignStore();
    return;
  }
  if (IsOurs()) {
    // Where it began is an offset of this cluster only as long as there is no other one.
    SetTo(facts_.other_cluster.empty() ? began_.value_or(bounds_.first) : bounds_.first);
    Find(LogLevel::kError, "row_lost",
         "this store has handled messages up to " + Text(*bounds_.committed) +
             " and has no row any more; replaying from " + Text(plan_.position));
    return;
  }
  if (!facts_.other_cluster.empty()) {
    SetTo(ChosenStart());
    Find(LogLevel::kWarning, "failover",
         "this store knows the partition from another cluster, " + facts_.other_cluster +
             ", whose offsets mean nothing here; beginning at " + Text(plan_.position) +
             ", and ids keep what was handled there from being handled again");
    return;
  }
  if (!bounds_.committed) {
    SetTo(ChosenStart());
    return;
  }
  SetTo(*bounds_.committed);
  Find(LogLevel::kInfo, "offsets_adopted",
       "the store has no row, and the group's offset names no store: going on at " +
           Text(*bounds_.committed));
}

void Planner::PlanWithoutRows() {
  GoTo(StartAction::kGoOn, bounds_.committed.value_or(ChosenStart()));
  // Committed before anything is handled: a crash must not begin at another "latest".
  plan_.commits_first = !bounds_.committed;
  if (IsForeign()) MeetForeignStore();
  if (IsOurs()) NoticeOlderCopy();
}

// Somebody else's effects and ids lie below the group's offset.
void Planner::MeetForeignStore() {
  const std::int64_t committed = *bounds_.committed;
  const std::int64_t replay = facts_.row.value_or(bounds_.first);
  std::string finding = "the messages below offset " + Text(committed) +
                        " were handled with another store, " + mark_->store_id + ", not with this" +
                        (facts_.store_id.empty() ? " one" : " one, " + facts_.store_id);
  switch (facts_.foreign_store) {
    case ForeignStore::kRefuse: {
      finding += "; open that one, or say what is to become of them: to go on at " +
                 Text(committed) + ", " +
                 (facts_.has_rows ? Command("adopt", "") + " or " : std::string()) +
                 "ConsumerOptions::foreign_store = ForeignStore::kAdopt; to go on at " +
                 Text(replay) + " and handle them with this store, " +
                 (facts_.has_rows ? Command("set", Text(replay)) + " or " : std::string()) +
                 "ForeignStore::kReplay";
      Stop("foreign_store", absl::FailedPreconditionError(finding));
      return;
    }
    case ForeignStore::kAdopt:
      AdoptForeign();
      break;
    case ForeignStore::kReplay:
      if (facts_.row || !facts_.has_rows) {
        GoTo(StartAction::kGoOn, replay);
      } else {
        SetTo(replay);
      }
      break;
  }
  Find(LogLevel::kWarning, "foreign_store",
       finding + "; as configured, going on at " + Text(plan_.position));
}

// Should the process die between the commit and the change of the row, the offset at which the
// commit says that this store began lies above the row, and the adoption is finished then.
void Planner::AdoptForeign() {
  SetTo(*bounds_.committed);
  plan_.commits_first = true;
  is_adoption_ = true;
}

void Planner::NoticeOlderCopy() {
  if (facts_.is_store_shared || mark_->open_count <= facts_.open_count) return;
  Find(LogLevel::kError, "store_rolled_back",
       "this store was opened " + std::to_string(facts_.open_count) +
           " times, and the group's offset was committed at its opening number " +
           std::to_string(mark_->open_count) + ": it is an older copy of itself");
}

// The log must reach to the position from both sides.
void Planner::CheckRange() {
  const std::int64_t position = plan_.position;
  if (position >= bounds_.first && position <= bounds_.end) {
    const bool is_there = plan_.witness && plan_.witness->offset >= bounds_.first &&
                          plan_.witness->offset < bounds_.end;
    if (!is_there) plan_.witness.reset();
    return;
  }
  if (position > bounds_.end && !facts_.is_end_certain) {
    plan_ = {.action = StartAction::kAskAgain, .position = position};
    return;
  }
  plan_.gap = position < bounds_.first ? OffsetRange{.first = position, .end = bounds_.first}
                                       : OffsetRange{.first = bounds_.end, .end = position};
  const std::string finding = position < bounds_.first
                                  ? "the broker has deleted offsets " + Text(position) + " to " +
                                        Text(bounds_.first - 1) + ", which were never handled"
                                  : "position " + Text(position) + " lies beyond the log's end " +
                                        Text(bounds_.end) +
                                        ": the topic was recreated or the log truncated";
  if (facts_.out_of_range == OutOfRange::kStop) {
    const std::string command =
        facts_.has_rows ? Command("set", "earliest")
                        : std::string("move the group's offsets with the broker's tools");
    Stop("gap",
         absl::OutOfRangeError(finding + "; to go on with the oldest message there is, " + command +
                               " or ConsumerOptions::out_of_range = OutOfRange::kEarliest"));
    return;
  }
  SetTo(bounds_.first);
  plan_.commits_first = true;
  Find(LogLevel::kError, "gap", finding + "; going on at " + Text(bounds_.first));
}

// May a copy of a message come when its id is forgotten already? Of a log that keeps everything
// only who is told to reads old messages again.
void Planner::CheckRetention() {
  if (facts_.store_retention == absl::InfiniteDuration()) return;
  if (!facts_.log_retention.ok()) {
    plan_.is_retention_short = true;  // for all that is known
    Find(LogLevel::kWarning, "retention_unknown",
         "the store forgets ids after " + absl::FormatDuration(facts_.store_retention) +
             ", and how long the topic keeps records is not known: " +
             std::string(ToStd(facts_.log_retention.status().message())));
    return;
  }
  const absl::Duration kept = *facts_.log_retention;
  const absl::Duration needed = kept + facts_.redelivery_horizon;
  if (facts_.store_retention >= needed) return;
  if (kept == absl::InfiniteDuration()) {
    Find(LogLevel::kInfo, "retention_of_log_infinite",
         "the topic keeps records for ever and the store its ids for " +
             absl::FormatDuration(facts_.store_retention) +
             ": what is older is handled again if positions are set back to it");
    return;
  }
  const std::string finding = "the store forgets ids after " +
                              absl::FormatDuration(facts_.store_retention) +
                              ", and a copy may come for " + absl::FormatDuration(needed) +
                              ": the topic keeps records for " + absl::FormatDuration(kept) +
                              ", and ConsumerOptions::redelivery_horizon adds " +
                              absl::FormatDuration(facts_.redelivery_horizon);
  if (facts_.short_retention == ShortRetention::kWarn) {
    plan_.is_retention_short = true;
    Find(LogLevel::kError, "retention_short", finding);
    return;
  }
  Stop("retention_short",
       absl::FailedPreconditionError(
           finding + "; raise StoreOptions::retention to that, or accept repeated handling with "
                     "ConsumerOptions::short_retention = ShortRetention::kWarn"));
}

// Effects of messages below it are not in this store, so losing the row asks for no more than what
// lies above.
void Planner::PlanBegan() {
  plan_.began = began_;
  if (plan_.action == StartAction::kMakeRow) plan_.began = plan_.position;
  const bool is_lower = plan_.action == StartAction::kMoveRow && plan_.began;
  if (is_lower) plan_.began = std::min(*plan_.began, plan_.position);
  plan_.commit_began = is_adoption_ ? plan_.position : plan_.began;
}

}  // namespace

StartPlan PlanStart(const StartFacts& facts) { return Planner(facts).Plan(); }

absl::Status OtherTopicError(const PartitionKey& key, const AppliedRecord& witness,
                             const AppliedRecord& found, std::int64_t position) {
  const std::string difference = witness.fingerprint.Matches(found.fingerprint)
                                     ? "was written at another time (" + Text(found.timestamp_ms) +
                                           " ms, not " + Text(witness.timestamp_ms) + ")"
                                     : std::string("has another value");
  return absl::DataLossError(
      "the message at offset " + Text(witness.offset) +
      " is not the one that was handled there: it " + difference +
      "; the topic was deleted and made anew, or its log was cut and written anew; to go on with "
      "the oldest message of the log there is now: " +
      PositionCommand(key, "set", "earliest") +
      "; to go on where the row says all the same: " + PositionCommand(key, "set", Text(position)));
}

}  // namespace once
