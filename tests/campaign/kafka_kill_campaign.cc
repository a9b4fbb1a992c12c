// kafka-kill: kill -9 of a process with three members of a group, under load, at moments that the
// seed chooses; transactional and plain handlers, each with eager and with cooperative rebalances.
// In every third life one of the members leaves and comes back again and again, and the kill falls
// anywhere in these rebalances.
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <string_view>

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

struct Group {
  std::string_view name;
  std::uint64_t number;  // of its plan
  bool is_cooperative = false;
  bool is_plain = false;
};

constexpr std::array<Group, 4> kGroups = {
    {{.name = "eager", .number = 1},
     {.name = "cooperative", .number = 2, .is_cooperative = true},
     {.name = "plain eager", .number = 3, .is_plain = true},
     {.name = "plain cooperative", .number = 4, .is_cooperative = true, .is_plain = true}}};

// So many kills of one group, then the rest in peace.
void KillGroup(const CampaignOptions& options, std::int64_t kills, const Group& group,
               CampaignReport& report) {
  const std::string label(group.name);
  const std::uint64_t seed = Draw(options.seed, group.number);
  // More than the beats of all lives ask for.
  const std::int64_t messages = (kills + 1) * kMessagesPerKill;
  Say(absl::StrCat(label, ": producing ", messages, " messages"));
  Scene scene("kafka-kill", options.brokers,
              {.seed = seed, .messages = messages, .partitions = kPartitions},
              {.is_plain = group.is_plain,
               .is_cooperative = group.is_cooperative,
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
  std::int64_t left = options.runs;
  for (std::size_t i = 0; i < kGroups.size(); ++i) {
    const auto groups_left = static_cast<std::int64_t>(kGroups.size() - i);
    const std::int64_t kills = (left + groups_left - 1) / groups_left;
    if (kills > 0) KillGroup(options, kills, kGroups[i], report);
    left -= kills;
  }
  report.extras["partitions"] = kPartitions;
  report.extras["members"] = 3;
  return report;
}

}  // namespace

Campaign KafkaKillCampaign() {
  return {
      .name = "kafka-kill",
      .what =
          "kill -9 of a process with three members, transactional and plain, eager and cooperative",
      .runs = 200,
      .quick_runs = 4,
      .run = &Run,
      .child = &Consume};
}

}  // namespace once::campaign
