// kafka-kill: kill -9 of a process with three members of a group, under load, at moments that the
// seed chooses; half of the kills with eager rebalances, half with cooperative ones. In every third
// life one of the members leaves and comes back again and again, and the kill falls anywhere in
// these rebalances.
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/scene.h"

namespace once::campaign {
namespace {

constexpr std::int32_t kPartitions = 12;
constexpr std::int64_t kMessagesPerKill = 5'000;
constexpr int kInvocationsPerBeat = 100;
// What is in flight when a process dies runs singly in the next one, with a sync each.
constexpr int kMessagesPerBatch = 200;

// The longest life with rebalances all the time.
constexpr std::uint64_t kChurnMs = 3'000;

// Beats before a kill: on average well below kMessagesPerKill, so that there is always load.
int BeatsBefore(std::uint64_t drawn) { return 5 + static_cast<int>(drawn % 50); }

// So many kills of one group, then the rest in peace.
void KillGroup(const CampaignOptions& options, std::int64_t kills, bool is_cooperative,
               CampaignReport& report) {
  const std::string label = is_cooperative ? "cooperative" : "eager";
  const std::uint64_t seed = Draw(options.seed, is_cooperative ? 2 : 1);
  Say(absl::StrCat(label, ": producing ", kills * kMessagesPerKill, " messages"));
  Scene scene("kafka-kill", options.brokers,
              {.seed = seed, .messages = kills * kMessagesPerKill, .partitions = kPartitions},
              {.is_cooperative = is_cooperative,
               .members = 3,
               .instance = "member",
               .session_ms = 2000,
               .hint_ms = 200,
               .batch_messages_max = kMessagesPerBatch,
               .invocations_per_beat = kInvocationsPerBeat});
  for (std::int64_t kill = 0; kill < kills; ++kill) {
    const std::uint64_t drawn = Draw(seed, static_cast<std::uint64_t>(kill));
    const bool is_churning = kill % 3 == 2;
    scene.task().churn_ms = is_churning ? 100 + static_cast<int>(drawn % 300) : 0;
    const auto child = scene.StartLife();
    if (is_churning) {
      absl::SleepFor(absl::Milliseconds(static_cast<std::int64_t>((drawn >> 16) % kChurnMs)));
    } else if (!child->WaitForBeats(BeatsBefore(drawn), absl::Seconds(60))) {
      report.violations.push_back(
          absl::StrCat(label, ": nothing is handled before kill ", kill, " (seed ", seed, ")"));
      break;
    }
    absl::SleepFor(absl::Microseconds(static_cast<std::int64_t>(drawn >> 32) % 20'000));
    // One that had ended by itself, or aborted, was not killed.
    const int status = child->End(SIGKILL);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
      report.violations.push_back(absl::StrCat(label, ": the process ended with wait status ",
                                               status, " before kill ", kill, " (seed ", seed,
                                               ")"));
      break;
    }
    if (kill % 10 == 9) Say(absl::StrCat(label, ": kill ", kill + 1, " of ", kills));
  }
  scene.task().churn_ms = 0;
  if (scene.DrainOnce(absl::Minutes(10)) != LifeEnd::kDrained) {
    report.violations.push_back(label + ": the last life did not settle everything and stop");
  }
  Say(label + ": judging");
  scene.Judge(report, label);
}

CampaignReport Run(const CampaignOptions& options) {
  CampaignReport report;
  const std::int64_t eager = (options.runs + 1) / 2;
  KillGroup(options, eager, /*is_cooperative=*/false, report);
  if (options.runs > eager) {
    KillGroup(options, options.runs - eager, /*is_cooperative=*/true, report);
  }
  report.extras["partitions"] = kPartitions;
  report.extras["members"] = 3;
  return report;
}

}  // namespace

Campaign KafkaKillCampaign() {
  return {.name = "kafka-kill",
          .what = "kill -9 of a process with three members, eager and cooperative",
          .runs = 200,
          .quick_runs = 4,
          .run = &Run,
          .child = &Consume};
}

}  // namespace once::campaign
