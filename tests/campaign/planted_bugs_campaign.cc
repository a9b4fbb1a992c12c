// planted-bugs: wrong stores, sources and engines, on the real broker and the real store. Each is
// one that the simulator knows too (tests/simulation/planted_bugs.h). A kill point makes the fatal
// moment certain where only a crash shows the bug. All must be caught; without a bug the same
// attacks must find nothing.
#include <signal.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
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
};

const std::vector<Hunt>& Hunts() {
  static const std::vector<Hunt>* const hunts = new std::vector<Hunt>{
      // Between engine and store or broker.
      {.bug = "ids-never-found"},
      {.bug = "present-is-completed"},
      {.bug = "letters-forgotten"},
      {.bug = "conflicts-unseen"},
      {.bug = "savepoint-ignored"},
      {.bug = "skipping-source"},
      {.bug = "eager-commit"},
      {.bug = "reach-not-raised", .is_poison = true},
      {.bug = "exhausted-goes-on", .is_poison = true},
      {.bug = "failed-claim-is-duplicate", .is_plain = true},
      {.bug = "fingerprints-ignored", .is_plain = true},
      {.bug = "takeover-is-fresh", .is_plain = true, .is_poison = true},
      {.bug = "begun-skipped", .is_plain = true, .is_poison = true},
      {.bug = "killed-before-published", .is_plain = true, .kill_at = "claim.dying:1"},
      // In the engine.
      {.bug = "position-past-waiting", .kill_at = "transaction.committed:3", .retry_ms = 2'000},
      {.bug = "position-set-at-begin", .kill_at = "transaction.handled:5"},
      {.bug = "marked-before-published", .kill_at = "relay.before_publish:1"},
      {.bug = "fetched-is-committed", .is_plain = true, .kill_at = "claim.handled:60"},
      {.bug = "attempt-not-recorded", .is_poison = true},
      {.bug = "exhausted-invoked", .is_poison = true},
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

// Whether the campaign found anything wrong; `why` is what it found first.
bool IsCaught(const Hunt& hunt, const CampaignOptions& options, std::string& why) {
  const auto scene = MakeSmallScene("planted-bugs", options, hunt.is_plain);
  scene->task().bug = hunt.bug;
  scene->task().retry_ms = hunt.retry_ms;
  if (hunt.is_poison) scene->task().poison = FindPoison(*scene);
  // Once in a batch, which is charged to nobody, and then once per attempt.
  const int deaths_max = hunt.is_poison ? kAttemptsMax + 1 : 1;
  constexpr absl::Duration kPatience = absl::Seconds(15);
  LifeEnd end = LifeEnd::kKilled;
  for (int life = 0; end == LifeEnd::kKilled && life <= deaths_max; ++life) {
    const bool is_armed = life == 0 && !hunt.kill_at.empty();
    const auto child = scene->StartLife(
        is_armed ? testing::Environment{{"ONCE_KILL_AT", hunt.kill_at}} : testing::Environment());
    end = scene->Drain(*child, kPatience);
    if (is_armed && end == LifeEnd::kDrained && hunt.bug.empty()) {
      throw std::runtime_error(hunt.kill_at + " is not passed");
    }
  }
  if (end != LifeEnd::kDrained) {
    why = end == LifeEnd::kKilled ? "the poison kills for ever" : "it does not settle everything";
    return true;
  }
  const Judgement judgement = scene->JudgeQuietly();
  if (!judgement.findings.empty()) why = judgement.findings.front().what;
  return !judgement.findings.empty();
}

CampaignReport Run(const CampaignOptions& options) {
  std::vector<Hunt> hunts = Hunts();
  hunts.resize(std::min(hunts.size(), static_cast<std::size_t>(options.runs)));
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
    std::string why;
    const bool is_caught = IsCaught(hunt, options, why);
    const std::lock_guard lock(mutex);
    const std::string attack = hunt.is_poison ? "poison" : hunt.kill_at;
    Say(absl::StrCat(hunt.bug.empty() ? "no bug" : hunt.bug, " ", attack, ": ",
                     is_caught ? "caught: " + why : "nothing found"));
    if (hunt.bug.empty()) {
      false_alarms += is_caught ? 1 : 0;
      if (is_caught) report.violations.push_back("a false alarm: " + why);
      return;
    }
    caught += is_caught ? 1 : 0;
    if (!is_caught) report.violations.push_back("not caught: " + hunt.bug);
    bugs.push_back({{"name", hunt.bug},
                    {"campaign", attack.empty()   ? "planted-bugs"
                                 : hunt.is_poison ? "planted-bugs, poison"
                                                  : absl::StrCat("kill-points, ", attack)},
                    {"caught", is_caught},
                    {"why", why}});
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
