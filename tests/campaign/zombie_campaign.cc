// zombie: one of three consumers that share an open store is held in mid-handler past its poll
// interval and does not notice that its partitions were given away; when it goes on, its next
// transaction must be refused. Every fourth run stops a whole process, alone in its group, for
// twice the session timeout instead.
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

struct ZombieRun {
  std::uint64_t seed = 1;
  bool is_stopped = false;  // the whole process, by SIGSTOP
  bool is_cooperative = false;

  std::string label() const {
    return absl::StrCat(is_stopped ? "stopped" : "held", " (seed ", seed, ")");
  }
};

CampaignReport RunOne(const ZombieRun& run, const std::string& brokers) {
  CampaignReport report;
  Scene scene("zombie", brokers,
              {.seed = run.seed, .messages = 6'000, .partitions = 6, .odd_one_in = 1'000},
              {.is_cooperative = run.is_cooperative,
               .members = run.is_stopped ? 1 : 3,
               .session_ms = kSessionMs,
               .poll_interval_ms = kSessionMs + 500,
               .batch_messages_max = 100,
               .invocations_per_beat = 20,
               .holds_at = run.is_stopped ? 0 : 20 + static_cast<int>(run.seed % 200)});
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
  if (!run.is_stopped && report.refused == 0) {
    report.violations.push_back(run.label() + ": the zombie was not refused");
  }
  return report;
}

CampaignReport Run(const CampaignOptions& options) {
  CampaignReport total;
  std::mutex mutex;
  constexpr std::size_t kWorkers = 3;
  std::int64_t done = 0;
  ForEachInParallel(static_cast<std::size_t>(options.runs), kWorkers, [&](std::size_t i) {
    const ZombieRun run{.seed = Draw(options.seed, i) % 1'000'000,
                        .is_stopped = i % 4 == 3,
                        .is_cooperative = i % 2 == 1};
    const CampaignReport report = RunOne(run, options.brokers);
    const std::lock_guard lock(mutex);
    Add(report, total);
    Say(absl::StrCat(++done, " of ", options.runs, ": ", run.label(), ": refused ",
                     report.refused));
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
