// The judgements that belong to the end of an execution, or to its standing still.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/testing/simulation_run.h"

namespace once::testing {

// Without a fault nothing excuses a stop that fails.
void Simulation::CheckStop(const Worker& worker, const absl::Status& status) {
  if (status.ok() || worker.process->is_dead() || oracle_.faults_used() > 0) return;
  // A batch at hand may run its handlers twice before it ends.
  absl::Duration slowest;
  for (const ScenarioMessage& message : scenario_.messages) slowest += 2 * message.duration;
  const bool has_slow_handlers = slowest > scenario_.times.stop_deadline;
  if (has_slow_handlers && absl::IsDeadlineExceeded(status)) return;
  checker_.Fail(Check::kEnds, absl::StrCat(worker.process->name(),
                                           " stops without a fault and says ", status.ToString()));
}

bool Simulation::HasOnlyLackedSpace() const {
  return oracle_.faults_used() > 0 && deaths_.empty() &&
         gate_.CountHits(Fault::kNoSpace) == oracle_.faults_used();
}

// A store that is full for a while is no reason to be restarted.
void Simulation::CheckGivenUp(const Worker& worker, const absl::Status& status) {
  if (status.ok() || worker.process->is_dead() || !HasOnlyLackedSpace()) return;
  checker_.Fail(Check::kEnds, absl::StrCat(worker.process->name(), " gives up because there was ",
                                           "no space for a while: ", status.ToString()));
}

bool Simulation::HasGap() const {
  return std::any_of(owed_.begin(), owed_.end(), [this](const auto& place) {
    return checker_.OutcomeOf(store().state(), place.first, place.second).empty();
  });
}

// A gap is told of where there is one, and nowhere else.
void Simulation::HearOfGap(const ToldGap& gap) {
  told_.push_back(gap);
  bool is_right = gap.first < gap.end;
  for (std::int64_t offset = gap.first; offset < gap.end; ++offset) {
    is_right = is_right && log_.Find(gap.partition, offset) == nullptr;
  }
  if (is_right) return;
  checker_.Fail(Check::kGapReported,
                absl::StrCat("offsets ", gap.first, " to ", gap.end - 1, " of partition ",
                             gap.partition, " are told to be missing, and they are not"),
                gap.partition);
}

bool Simulation::IsTold(int partition, std::int64_t offset) const {
  return std::any_of(told_.begin(), told_.end(), [&](const ToldGap& gap) {
    return gap.partition == partition && offset >= gap.first && offset < gap.end;
  });
}

// Whoever counts and whoever reads the log must learn of each.
void Simulation::CheckGap() {
  if (has_stats_ && counted_.gaps != told_.size()) {
    checker_.Fail(Check::kGapReported, absl::StrCat(counted_.gaps, " gaps are counted, and ",
                                                    told_.size(), " are logged"));
  }
  for (const auto& [partition, offset] : owed_) {
    const bool is_handled = !checker_.OutcomeOf(store().state(), partition, offset).empty();
    if (is_handled || is_cut_off_ || IsTold(partition, offset)) continue;
    checker_.Fail(Check::kGapReported,
                  absl::StrCat("offset ", offset, " of partition ", partition,
                               " was deleted before it was handled, and nobody says so"),
                  partition);
    return;
  }
}

void Simulation::CheckAtEnd() {
  if (!checker_.violation().has_value()) CheckGap();
  if (act() != nullptr && act()->is_refused) return;
  if (!checker_.violation().has_value()) checker_.CheckEnd(store().state(), !is_cut_off_);
  if (!checker_.violation().has_value()) CheckOutcomes();
  if (is_cut_off_) return;
  if (!checker_.violation().has_value()) CheckLetters();
  if (!checker_.violation().has_value() && !is_plain()) CheckLetterOrder();
  if (!checker_.violation().has_value()) CheckStats();
  if (!checker_.violation().has_value()) CheckSending();
  // Elsewhere it may end when all is handled, with the broker not told yet.
  const bool is_due = scenario_.awaits_offsets && !checker_.violation().has_value();
  if (is_due && checker_.FindUnacknowledged()) {
    FailDrained("at the end");
  }
}

// Whoever has something to handle has stopped and says so.
bool Simulation::IsRefused() const {
  return std::all_of(
      act()->messages.begin(), act()->messages.end(), [this](const ScenarioMessage& message) {
        return std::any_of(workers_.begin(), workers_.end(), [&message](const Worker& worker) {
          return worker.subject != nullptr && worker.subject->IsStopped(message.partition);
        });
      });
}

std::string Simulation::Complaints() const {
  std::string text;
  for (const Worker& worker : workers_) {
    if (worker.subject == nullptr) continue;
    const std::string complaint = worker.subject->Complaint();
    if (!complaint.empty()) absl::StrAppend(&text, "; worker-", worker.index, ": ", complaint);
  }
  return text;
}

void Simulation::FailDrained(const std::string& why) {
  if (act() != nullptr && act()->is_refused) {
    checker_.Fail(Check::kIdentity,
                  absl::StrCat("the log or the store is another one than before, and no partition "
                               "is stopped",
                               Complaints()));
    return;
  }
  if (FailSending(why)) return;
  for (const auto& [place, message] : truth_) {
    const bool is_deleted = log_.Find(place.first, place.second) == nullptr;
    if (is_deleted || !checker_.OutcomeOf(store().state(), place.first, place.second).empty()) {
      continue;
    }
    checker_.Fail(Check::kDrained,
                  absl::StrCat(why, ": ", message->id, " at offset ", place.second,
                               " of partition ", place.first, " is not handled", Complaints()),
                  place.first, message->id);
    return;
  }
  if (const std::optional<int> partition = checker_.FindUnacknowledged()) {
    checker_.Fail(
        Check::kDrained,
        absl::StrCat(why, ": the group's offset in partition ", *partition, " is ",
                     log_.committed(*partition).value_or(-1),
                     " at the broker, and the log ends at ", log_.end(*partition), Complaints()),
        *partition);
    return;
  }
  checker_.Fail(Check::kDrained,
                absl::StrCat(why, ": positions or letters are behind", Complaints()));
}

// Invocations that were cut off may use up the attempts of a message that did nothing wrong.
bool Simulation::IsExcused(const ScenarioMessage& message, const std::string& outcome) const {
  if (is_plain()) return oracle_.faults_used() > 0 && checker_.claims().CutOffs(message.id) > 0;
  const bool is_dead = outcome == "letter" || outcome == "dead";
  const int failures = message.handling == Handling::kThrow ? 1 : message.failures;
  const int charged = checker_.RecordedInAdvance(message.id) + failures;
  // A stop that would not wait for the handler cuts it off like a crash.
  const bool is_disturbed = oracle_.faults_used() > 0 || restarts_ > 0;
  return is_dead && is_disturbed && charged >= scenario_.retry.max_attempts;
}

// What the handler wants of a message is what becomes of it, where only one answer is right.
void Simulation::CheckOutcomes() {
  for (const auto& [place, message] : truth_) {
    const std::string outcome = checker_.OutcomeOf(store().state(), place.first, place.second);
    const bool has_rival =
        std::any_of(scenario_.messages.begin(), scenario_.messages.end(),
                    [message = message](const ScenarioMessage& other) {
                      return other.id == message->id && other.value != message->value;
                    });
    bool is_right = true;
    const bool is_deleted = log_.Find(place.first, place.second) == nullptr;
    if (outcome.empty() && (is_cut_off_ || is_deleted)) continue;
    if (IsExcused(*message, outcome)) continue;
    if (message->id.empty()) {
      is_right = outcome == "letter";
    } else if (!has_rival) {
      switch (message->handling) {
        case Handling::kDone:
        case Handling::kThrow:
          is_right = outcome == "effect";
          break;
        case Handling::kFailFirst:
          is_right =
              outcome == (message->failures < scenario_.retry.max_attempts ? "effect" : "letter");
          break;
        case Handling::kFailAlways:
        case Handling::kReject:
          is_right = outcome == "letter" || outcome == "dead";
          break;
        case Handling::kSkip:
          is_right = outcome == "skip";
          break;
        case Handling::kDieFirst:
          is_right = IsRightAfterDeaths(*message, outcome);
          break;
        case Handling::kDieAlways:
          is_right = outcome == "letter" || outcome == "dead";
          break;
      }
    }
    if (is_right) continue;
    checker_.Fail(Check::kRightOutcome,
                  absl::StrCat(message->id, " at offset ", place.second, " of partition ",
                               place.first, " ends as \"", outcome, "\""),
                  place.first, message->id);
  }
}

// Whether so many deaths use up the attempts depends on whether the first one was charged.
bool Simulation::IsRightAfterDeaths(const ScenarioMessage& message,
                                    const std::string& outcome) const {
  const int max = scenario_.retry.max_attempts;
  const bool is_parked = is_plain() && scenario_.claims.on_lost == LostClaim::kPark;
  const bool may_be_done = message.failures < max + (is_plain() ? 0 : 1) && !is_parked;
  const bool may_be_dead = message.failures >= max || is_parked || oracle_.faults_used() > 0;
  return (may_be_done && outcome == "effect") ||
         (may_be_dead && (outcome == "letter" || outcome == "dead"));
}

// What the outbox calls published was published, and only what the broker refuses is parked.
void Simulation::CheckLetters() {
  if (is_plain()) {
    const std::size_t letters = checker_.claims().letter_count();
    // A stop that would not wait for a handler leaves letters published and not acknowledged.
    const bool is_disturbed = oracle_.faults_used() > 0 || !deaths_.empty() || restarts_ > 0;
    if (is_disturbed || topics_.messages().size() == letters) return;
    checker_.Fail(Check::kPublished,
                  absl::StrCat("without a fault ", letters, " letters are published ",
                               topics_.messages().size(), " times"));
    return;
  }
  for (const OutboxEntry& entry : store().state().outbox) {
    const OutgoingMessage& letter = entry.row.message;
    const bool is_stored = std::any_of(
        topics_.messages().begin(), topics_.messages().end(), [&](const OutgoingMessage& stored) {
          return stored.topic == letter.topic && stored.key == letter.key &&
                 stored.value == letter.value && stored.headers == letter.headers;
        });
    const bool is_refused = SizeBytes(letter) > kLetterBytesMax;
    if (is_stored == entry.is_published && is_refused == entry.is_parked) continue;
    checker_.Fail(
        Check::kPublished,
        absl::StrCat("the letter of offset ", entry.row.origin.offset, " of partition ",
                     entry.row.origin.key.partition.partition, " is ", is_stored ? "" : "not ",
                     "in its topic, ", is_refused ? "" : "not ",
                     "refused by the broker, and in the outbox ", entry.is_published ? "" : "not ",
                     "published, ", entry.is_parked ? "" : "not ", "parked"),
        entry.row.origin.key.partition.partition);
  }
}

// Of one destination and key, letters are published for the first time in the order of their
// commits. What a store has lost and committed anew was published in another one.
void Simulation::CheckLetterOrder() {
  const bool has_lost =
      gate_.CountHits(Fault::kLoseOneCommit) > 0 || gate_.CountHits(Fault::kLoseTwoCommits) > 0;
  if (has_lost) return;
  const std::vector<OutgoingMessage>& stored = topics_.messages();
  std::map<std::pair<std::string, std::string>, std::ptrdiff_t> last;
  for (const OutboxEntry& entry : store().state().outbox) {
    const OutgoingMessage& letter = entry.row.message;
    if (entry.is_parked || !letter.key) continue;
    const auto first =
        std::find_if(stored.begin(), stored.end(), [&letter](const OutgoingMessage& one) {
          return one.topic == letter.topic && one.key == letter.key &&
                 one.headers == letter.headers;
        });
    std::ptrdiff_t& before = last[{letter.topic, *letter.key}];
    if (first - stored.begin() < before) {
      checker_.Fail(
          Check::kPublished,
          absl::StrCat("the letter of offset ", entry.row.origin.offset, " of partition ",
                       entry.row.origin.key.partition.partition,
                       " is published before one of its key that was committed before it"),
          entry.row.origin.key.partition.partition);
    }
    before = std::max(before, first - stored.begin());
  }
}

// Without a fault every message is counted once, and as what it became.
void Simulation::CheckStats() {
  if (!has_stats_ || oracle_.faults_used() > 0 || !deaths_.empty()) return;
  if (!scenario_.sequel.empty() || HasGap()) return;
  // What a stop left unacknowledged is met, and counted, once more.
  if (is_plain() && restarts_ > 0) return;
  const ConsumerStats& counted = counted_;
  const std::uint64_t sum =
      counted.processed + counted.duplicates + counted.dead_lettered + counted.discarded;
  const std::size_t effects =
      is_plain() ? checker_.claims().effect_count() : store().state().effects.size();
  const std::size_t letters =
      is_plain() ? checker_.claims().letter_count() : store().state().outbox.size();
  // The broker's offset follows the claims: a message may be met again, and counted; and copies of
  // what is done may be left unread at the end.
  const auto acknowledged = static_cast<std::size_t>(
      std::count_if(truth_.begin(), truth_.end(), [this](const auto& message) {
        const auto& [partition, offset] = message.first;
        return offset < log_.committed(partition).value_or(0);
      }));
  const bool is_complete = is_plain() ? sum >= acknowledged : sum == truth_.size();
  if (is_plain() && checker_.claims().cut_off_count() > 0) {
    checker_.Fail(Check::kRightOutcome, "a claim is lost without a fault");
    return;
  }
  const bool is_right =
      is_complete && counted.processed == effects && counted.dead_lettered == letters;
  if (is_right) return;
  checker_.Fail(
      Check::kRightOutcome,
      absl::StrCat("the counts are wrong: ", counted.processed, " processed, ", counted.duplicates,
                   " duplicates, ", counted.dead_lettered, " dead letters, ", counted.discarded,
                   " discarded; there are ", truth_.size(), " messages, ", effects, " effects, ",
                   letters, " letters"));
}

}  // namespace once::testing
