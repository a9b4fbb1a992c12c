// zombie: one of three consumers that share an open store is held in mid-handler past its poll
// interval and does not notice that its partitions were given away; when it goes on, its next
// transaction must be refused, or its claim, whose lease has ended meanwhile: both by what the
// store answered and by what the consumer has counted. Every third has a plain handler. On top of
// these runs, one for every four stops a whole process, alone in its group, for twice its session
// timeout.
#include <signal.h>

#include <mutex>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/parallel.h"
#include "tests/campaign/scene.h"
#include "tests/campaign/small_scene.h"

namespace once::campaign {
namespace {

constexpr int kSessionMs = 1500;
constexpr int kLeaseMs = 1000;

struct ZombieRun {
  std::uint64_t seed = 1;
  bool is_stopped = false;  // the whole process, by SIGSTOP
  bool is_plain = false;
  bool is_cooperative = false;

  std::string label() const {
    return absl::StrCat(is_stopped ? "stopped" : "held", is_plain ? ", plain" : "", " (seed ", seed,
                        ")");
  }
};

// The stopped ones come after the held ones.
ZombieRun PlanOf(const CampaignOptions& options, std::size_t number) {
  return {.seed = Draw(options.seed, number) % 1'000'000,
          .is_stopped = number >= static_cast<std::size_t>(options.runs),
          .is_plain = number % 3 == 2,
          .is_cooperative = number / 3 % 2 == 1};
}

CampaignReport RunOne(const ZombieRun& run, const std::string& brokers) {
  CampaignReport report;
  Scene scene("zombie", brokers,
              {.seed = run.seed, .messages = 6'000, .partitions = 6, .odd_one_in = 1'000},
              {.is_plain = run.is_plain,
               .is_cooperative = run.is_cooperative,
               .members = run.is_stopped ? 1 : 3,
               .session_ms = kSessionMs,
               .poll_interval_ms = kSessionMs + 500,
               .batch_messages_max = 100,
               .invocations_per_beat = 20,
               .holds_at = run.is_stopped ? 0 : 20 + static_cast<int>(run.seed % 200),
               .lease_ms = kLeaseMs});
  const auto child = scene.StartLife();
  if (run.is_stopped) {
    if (!child->WaitForBeats(1 + static_cast<int>(run.seed % 60), absl::Seconds(60))) {
      report.violations.push_back(run.label() + ": nothing is handled");
      return report;
    }
    child->Send(SIGSTOP);
    absl::SleepFor(2 * absl::Milliseconds(kSessionMs));
    child->Send(SIGCONT);
  }
  if (scene.Drain(*child, absl::Minutes(2)) != LifeEnd::kDrained) {
    report.violations.push_back(run.label() + ": it does not settle everything");
  }
  scene.Judge(report, run.label());
  report.extras[run.is_stopped ? "stopped"
                : run.is_plain ? "held_plain"
                               : "held_transactional"] = 1;
  if (run.is_stopped) return report;
  if (report.refused == 0) report.violations.push_back(run.label() + ": no call was refused");
  if (report.extras["fenced"] == 0) {
    report.violations.push_back(run.label() + ": the consumer has not noticed that it was refused");
  }
  return report;
}

CampaignReport Run(const CampaignOptions& options) {
  CampaignReport total;
  std::mutex mutex;
  constexpr std::size_t kWorkers = 3;
  std::size_t done = 0;
  const auto count = static_cast<std::size_t>(options.runs + (options.runs + 3) / 4);
  ForEachInParallel(count, kWorkers, [&](std::size_t i) {
    const ZombieRun run = PlanOf(options, i);
    const CampaignReport report = RunOne(run, options.brokers);
    const std::lock_guard lock(mutex);
    Add(report, total);
    Say(absl::StrCat(++done, " of ", count, ": ", run.label(), ": refused ", report.refused));
  });
  return total;
}

}  // namespace

Campaign ZombieCampaign() {
  return {.name = "zombie",
          .what = "a consumer held past its poll interval, or a process past its session",
          .runs = 100,
          .quick_runs = 4,
          .run = &Run,
          .child = &Consume};
}

}  // namespace once::campaign
