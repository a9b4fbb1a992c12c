// Bugs in the engine itself, which a test build can switch on (src/test_hooks.h). Names and places
// are the engine's: grep for ONCE_PLANTED_BUG.
#include <vector>

#include "tests/simulation/planted_bugs.h"

namespace once::testing {
namespace {

// Masked, or seen elsewhere, without the rules about calls.
PlantedBug InEngine(PlantedBug bug, std::string scenario, Budget budget, Check caught_by) {
  bug.state_scenario = std::move(scenario);
  bug.state_budget = budget;
  bug.state_caught_by = caught_by;
  return bug;
}

// Where the store's comparison of fences would hide it.
PlantedBug WithoutFences(PlantedBug bug) {
  bug.plant = [](Scenario& scenario) { scenario.compares_fences = false; };
  return bug;
}

}  // namespace

const std::vector<PlantedBug>& PlantedEngineBugs() {
  constexpr Budget kNone = {};
  constexpr Budget kOne = {.faults = 1};
  constexpr Budget kTwo = {.faults = 2};
  static const std::vector<PlantedBug>* const bugs = new std::vector<PlantedBug>{
      // Transactions.
      InEngine("copy-in-the-span", "a batch handler gets both copies of a message in one call",
               "batch-handler", kNone, Check::kOneEffect),
      InEngine("retry-settles-number", "a failed attempt settles the number of its message",
               "numbers", kNone, Check::kOneOutcome),
      InEngine(InEngine("attempts-behind-numbers-forgotten",
                        "no record of failed attempts is looked for under a new number", "numbers",
                        kNone, Check::kHandledAgain),
               "", kNone, Check::kOneEffect),
      InEngine("undone-settlement-kept", "what a pass has settled outlives its rollback", "numbers",
               kNone, Check::kOneOutcome),
      InEngine("position-past-waiting", "the position passes a message that waits for a retry",
               "letters", kNone, Check::kOneOutcome),
      InEngine("position-set-at-begin", "the position is raised before the handlers have run",
               "one-partition", kNone, Check::kOneOutcome),
      InEngine("unknown-commit-settles", "a lost answer to a commit settles its messages",
               "one-partition", kOne, Check::kDrained),
      InEngine(InEngine("unknown-not-reread", "after a lost answer the row is not read again",
                        "one-partition", kOne, Check::kReadAfterUnknown),
               "", kNone, Check::kOneEffect),
      InEngine(InEngine("mismatch-adopted", "a row that somebody else changed is taken as it is",
                        "one-partition", kOne, Check::kExpectedStamp),
               "one-partition-store-loss", kOne, Check::kDrained),
      InEngine("row-position-ignored", "a row that was read again does not move the fetch",
               "one-partition-store-loss", kOne, Check::kDrained),
      InEngine("idle-rows-not-audited", "only the partition with traffic learns of a rollback",
               "two-partitions-store-loss", kOne, Check::kDrained),
      InEngine(InEngine("writer-tag-kept", "a row that is read again keeps its tag",
                        "one-partition", kOne, Check::kExpectedStamp),
               "", kNone, Check::kOneEffect),
      InEngine("only-fenced-replayed",
               "of a batch that was rolled back, only the partition whose row had changed is "
               "handled again",
               "two-partitions-cooperative", kOne, Check::kDrained),
      InEngine("drained-work-discarded",
               "of work that ends while a partition is given back, ids and position are kept and "
               "the effects are not",
               "draining", kNone, Check::kAtomic),
      InEngine(InEngine("failure-is-followed",
                        "a batch that was made ready runs although the one before it was not "
                        "settled whole",
                        "one-after-the-other", kOne, Check::kExpectedStamp),
               "one-after-the-other", kOne, Check::kOneOutcome),
      InEngine("prepared-overtakes",
               "what was made ready goes back in front of what is left of the batch before it",
               "failures-in-a-row", kNone, Check::kOneOutcome),
      InEngine("unsynced-is-acknowledged", "the broker hears of a batch before it is synced",
               "synced-later-alone", kNone, Check::kAcknowledged),
      InEngine("failed-sync-forgotten", "after a sync that failed the next one counts for it",
               "synced-later-alone", kOne, Check::kAcknowledged),
      InEngine("letters-synced-later", "a letter is published before it is synced", "synced-later",
               kOne, Check::kPublished),
      // Attempts.
      InEngine("failure-not-recorded", "a failed attempt is forgotten", "failing", kNone,
               Check::kDrained),
      InEngine("exhausted-invoked", "a message without attempts left is invoked again", "poison",
               kNone, Check::kAttempts),
      InEngine("exhausted-claim-invoked", "the same under a claim", "plain-poison", kNone,
               Check::kAttempts),
      InEngine("attempt-not-recorded", "an attempt is lost in a crash", "poison", kNone,
               Check::kAttempts),
      InEngine("reach-off-by-one", "the last handler of a batch runs beyond the recorded reach",
               "poison-one-by-one", kNone, Check::kAttempts),
      // Order.
      InEngine("waiting-holds-nothing-back", "what waits for a retry is overtaken", "letters",
               kNone, Check::kOrder),
      InEngine("waiting-claim-holds-nothing-back", "the same under a claim", "plain-letters", kNone,
               Check::kOrder),
      // Offsets and letters.
      InEngine("fetched-is-committed", "the broker is told what was fetched, not what was handled",
               "plain-letters", kOne, Check::kAcknowledged),
      InEngine("revoked-fetch-is-committed", "the same, when a partition is given back",
               "two-partitions-cooperative", kOne, Check::kAcknowledged),
      InEngine("hints-not-sent", "the broker hears of what is handled only when somebody leaves",
               "offsets", kNone, Check::kDrained),
      InEngine("marked-before-published", "a letter counts as published before it is",
               "graceful-stop", kNone, Check::kPublished),
      InEngine("unpublished-marked", "a letter that the broker refused counts as published",
               "graceful-stop", kNone, Check::kPublished),
      InEngine("letter-overtakes", "a letter is out before one of its key that had to wait",
               "letters-of-a-key", kOne, Check::kPublished),
      InEngine("gap-not-reported", "messages that were deleted unread are passed in silence",
               "retention", kNone, Check::kGapReported),
      InEngine("only-first-gap-reported", "a second gap is passed in silence", "retention-behind",
               kOne, Check::kGapReported),
      InEngine("gap-invented", "messages are said to be lost that are there", "one-partition",
               kNone, Check::kGapReported),
      // Claims.
      InEngine("acknowledged-before-sync", "what is acknowledged does not survive the machine",
               "plain-one-partition", kNone, Check::kAcknowledged),
      InEngine("lost-claim-settles", "an outcome that was refused counts as recorded",
               "plain-store-loss", kOne, Check::kAcknowledged),
      InEngine(WithoutFences({.name = "lease-trusted-too-early",
                              .what = "a claim is taken for over before the store says so",
                              .scenario = "plain-slow",
                              .caught_by = Check::kBegun,
                              .is_in_engine = true}),
               "plain-slow", kNone, Check::kOneEffect),
      InEngine("copy-of-waiting-is-duplicate", "a copy is done before its original is",
               "plain-copies", kTwo, Check::kAcknowledged),
      InEngine("dying-not-recorded", "a letter is out of a message that others may yet handle",
               "plain-letters", kNone, Check::kPublished),
      InEngine("letter-before-sync", "the same, once the machine has died", "plain-letters", kNone,
               Check::kPublished),
  };
  return *bugs;
}

}  // namespace once::testing
