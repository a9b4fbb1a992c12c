// planted-bugs: wrong stores, sources and engines, on the real broker and the real store. Each is
// one that the simulator knows too (tests/simulation/planted_bugs.h). A kill point makes the fatal
// moment certain where only a crash shows the bug. Each must be caught by the finding that is its
// own; without a bug the same attacks must find nothing.
#include <signal.h>

#include <algorithm>
#include <iterator>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/parallel.h"
#include "tests/campaign/small_scene.h"

namespace once::campaign {
namespace {

struct Hunt {
  std::string bug;  // empty: none
  bool is_plain = false;
  std::string kill_at;     // where the first life ends; empty: it does not
  bool is_poison = false;  // one message kills every process that invokes its handler
  int retry_ms = 5;        // long: a message still waits when the first life ends
  // Beginnings of what the judge must say, one of them at least: anything else is not this bug.
  std::vector<std::string> signs;
};

// What shows before there is an end to judge.
constexpr const char* kDoesNotSettle = "it does not settle everything";
constexpr const char* kKillsForEver = "the poison kills for ever";
constexpr const char* kEndsByItself = "a process ends by itself";
// What the judge says of several bugs.
constexpr const char* kNoEffect = "one outcome: no effect";
constexpr const char* kNoLetter = "one outcome: no dead letter";
constexpr const char* kNoReport = "one outcome: a conflict was not reported";
constexpr const char* kEarly = "acknowledged: offset";

const std::vector<Hunt>& Hunts() {
  static const std::vector<Hunt>* const hunts = new std::vector<Hunt>{
      // Between engine and store or broker.
      {.bug = "ids-never-found", .signs = {kDoesNotSettle}},
      {.bug = "present-is-completed", .signs = {kNoEffect}},
      {.bug = "letters-forgotten", .signs = {kNoLetter}},
      {.bug = "conflicts-unseen", .signs = {kNoReport}},
      {.bug = "savepoint-ignored",
       .signs = {"one effect: a second effect", "atomic: the effect of"}},
      {.bug = "skipping-source", .signs = {kNoEffect}},
      {.bug = "eager-commit", .signs = {kEarly}},
      {.bug = "reach-not-raised", .is_poison = true, .signs = {kKillsForEver}},
      {.bug = "exhausted-goes-on", .is_poison = true, .signs = {kKillsForEver}},
      {.bug = "failed-claim-is-duplicate", .is_plain = true, .signs = {kNoEffect}},
      {.bug = "fingerprints-ignored", .is_plain = true, .signs = {kNoReport}},
      {.bug = "takeover-is-fresh", .is_plain = true, .is_poison = true, .signs = {"announced: "}},
      {.bug = "begun-skipped", .is_plain = true, .is_poison = true, .signs = {kKillsForEver}},
      {.bug = "killed-before-published",
       .is_plain = true,
       .kill_at = "claim.dying:1",
       .signs = {kNoLetter}},
      // In the engine.
      {.bug = "position-past-waiting",
       .kill_at = "transaction.committed:3",
       .retry_ms = 2'000,
       .signs = {kNoEffect}},
      {.bug = "position-set-at-begin", .kill_at = "transaction.handled:5", .signs = {kNoEffect}},
      {.bug = "marked-before-published", .kill_at = "relay.before_publish:1", .signs = {kNoLetter}},
      {.bug = "fetched-is-committed",
       .is_plain = true,
       .kill_at = "claim.handled:60",
       .signs = {kEarly}},
      {.bug = "attempt-not-recorded", .is_poison = true, .signs = {kKillsForEver}},
      {.bug = "exhausted-invoked", .is_poison = true, .signs = {kKillsForEver}},
  };
  return *hunts;
}

// An id whose handler fails at every attempt anyway: that it also kills leaves one outcome.
std::string FindPoison(const Scene& scene) {
  for (const OutgoingMessage& message :
       MessagesOf(scene.workload(), "any", 0, scene.workload().messages)) {
    if (KindOf(*message.value) == 'x') return message.headers.front().value.value_or("");
  }
  throw std::runtime_error("no message to poison");
}

// What the attack brought to light, in the words of the judge; sorted, each once.
std::set<std::string> FindSigns(const Hunt& hunt, const CampaignOptions& options) {
  const auto scene = MakeSmallScene("planted-bugs", options, hunt.is_plain);
  scene->task().bug = hunt.bug;
  scene->task().retry_ms = hunt.retry_ms;
  if (hunt.is_poison) scene->task().poison = FindPoison(*scene);
  // In two batches, of all and of a sixteenth, charged to nobody; and then once per attempt.
  const int deaths_max = hunt.is_poison ? kAttemptsMax + 2 : 1;
  constexpr absl::Duration kPatience = absl::Seconds(15);
  LifeEnd end = LifeEnd::kKilled;
  for (int life = 0; end == LifeEnd::kKilled && life <= deaths_max; ++life) {
    const bool is_armed = life == 0 && !hunt.kill_at.empty();
    const auto child = scene->StartLife(
        is_armed ? testing::Environment{{"ONCE_KILL_AT", hunt.kill_at}} : testing::Environment());
    end = scene->Drain(*child, kPatience);
    // A bug may keep the engine from passing it; the right engine must.
    if (is_armed && end != LifeEnd::kKilled && hunt.bug.empty()) {
      throw std::runtime_error(hunt.kill_at + " is not passed");
    }
  }
  std::set<std::string> signs;
  if (end == LifeEnd::kKilled) signs.insert(kKillsForEver);
  if (end == LifeEnd::kStuck) signs.insert(kDoesNotSettle);
  if (end == LifeEnd::kStopped || end == LifeEnd::kFailed) signs.insert(kEndsByItself);
  for (const Finding& finding : scene->JudgeQuietly().findings) signs.insert(finding.what);
  return signs;
}

// The first sign that the hunt names as the bug's own, if any.
std::optional<std::string> FindOwnSign(const Hunt& hunt, const std::set<std::string>& signs) {
  for (const std::string& sign : signs) {
    if (std::any_of(hunt.signs.begin(), hunt.signs.end(),
                    [&](const std::string& own) { return sign.starts_with(own); })) {
      return sign;
    }
  }
  return std::nullopt;
}

// For people: the first few.
std::string Summarize(const std::set<std::string>& signs) {
  if (signs.empty()) return "nothing";
  constexpr std::size_t kShown = 5;
  const auto end = std::next(signs.begin(), static_cast<int>(std::min(kShown, signs.size())));
  return absl::StrCat(absl::StrJoin(signs.begin(), end, "; "), end == signs.end() ? "" : "; …");
}

// At most so many as were asked for, spread over the whole list: the engine's bugs are at its end.
std::vector<Hunt> ChooseHunts(std::int64_t runs) {
  const std::vector<Hunt>& all = Hunts();
  const std::size_t count = std::min(all.size(), static_cast<std::size_t>(runs));
  std::vector<Hunt> chosen;
  for (std::size_t i = 0; i < count; ++i) chosen.push_back(all[i * all.size() / count]);
  return chosen;
}

CampaignReport Run(const CampaignOptions& options) {
  std::vector<Hunt> hunts = ChooseHunts(options.runs);
  const auto planted = static_cast<std::int64_t>(hunts.size());
  // The same attacks on the right engine.
  for (const bool is_plain : {false, true}) {
    hunts.push_back({.is_plain = is_plain});
    hunts.push_back(
        {.is_plain = is_plain, .kill_at = is_plain ? "claim.handled:20" : "transaction.handled:5"});
    hunts.push_back({.is_plain = is_plain, .is_poison = true});
  }
  CampaignReport report;
  std::mutex mutex;
  std::int64_t caught = 0;
  std::int64_t false_alarms = 0;
  Json bugs = Json::array();
  constexpr std::size_t kWorkers = 3;
  ForEachInParallel(hunts.size(), kWorkers, [&](std::size_t i) {
    const Hunt& hunt = hunts[i];
    const std::set<std::string> signs = FindSigns(hunt, options);
    const std::optional<std::string> own = FindOwnSign(hunt, signs);
    const bool is_caught = own.has_value();
    const std::string seen = Summarize(signs);
    const std::lock_guard lock(mutex);
    const std::string attack = hunt.is_poison ? "poison" : hunt.kill_at;
    Say(absl::StrCat(hunt.bug.empty() ? "no bug" : hunt.bug, " ", attack, ": ",
                     is_caught ? "caught: " + *own : "found: " + seen));
    if (hunt.bug.empty()) {
      false_alarms += signs.empty() ? 0 : 1;
      if (!signs.empty()) report.violations.push_back("a false alarm: " + seen);
      return;
    }
    caught += is_caught ? 1 : 0;
    if (!is_caught) {
      report.violations.push_back(absl::StrCat("not caught: ", hunt.bug, ": found: ", seen));
    }
    bugs.push_back({{"name", hunt.bug},
                    {"campaign", attack.empty()   ? "planted-bugs"
                                 : hunt.is_poison ? "planted-bugs, poison"
                                                  : absl::StrCat("kill-points, ", attack)},
                    {"caught", is_caught},
                    {"why", own.value_or(seen)}});
  });
  report.extras = {{"runs", hunts.size()},
                   {"planted", planted},
                   {"caught", caught},
                   {"false_alarms", false_alarms},
                   {"bugs", bugs}};
  return report;
}

}  // namespace

Campaign PlantedBugsCampaign() {
  return {.name = "planted-bugs",
          .what = "wrong stores, sources and engines, each of which must be caught",
          .runs = 1'000,  // more than there are: all
          .quick_runs = 12,
          .run = &Run,
          .child = &Consume};
}

}  // namespace once::campaign
