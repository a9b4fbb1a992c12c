// commit-cut: a proxy between a consuming process and the broker cuts the connection before a
// request reaches the broker, or after the broker has carried it out and before the client hears of
// it: commits of offsets and dead letters above all, joins and heartbeats too. The process goes on
// with whatever its client makes of that. Both a transactional and a plain handler meet as many
// cuts of each side as there are runs: four times the runs altogether.
#include <algorithm>
#include <array>
#include <map>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "adapters/kafka/tests/kafka_proxy.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/parallel.h"
#include "tests/campaign/scene.h"
#include "tests/campaign/small_scene.h"

namespace once::campaign {
namespace {

using kafka::testing::KafkaProxy;
using kafka::testing::KafkaRequest;

constexpr std::int32_t kPartitions = 6;
constexpr std::int64_t kMessagesAtFirst = 2'000;
constexpr std::int64_t kMessagesPerCut = 300;
// Of each side.
constexpr std::int64_t kCutsPerProcess = 50;
// Of a request that has to come first: a heartbeat is due every few seconds.
constexpr absl::Duration kPatience = absl::Seconds(10);

struct Target {
  KafkaRequest request;
  const char* name;
  int share;  // in a hundred
};
constexpr std::array<Target, 6> kTargets = {{{KafkaRequest::kOffsetCommit, "commit", 42},
                                             {KafkaRequest::kProduce, "letter", 42},
                                             {KafkaRequest::kFetch, "fetch", 8},
                                             {KafkaRequest::kHeartbeat, "heartbeat", 2},
                                             {KafkaRequest::kJoinGroup, "join", 3},
                                             {KafkaRequest::kSyncGroup, "sync", 3}}};

const Target& DrawTarget(Dice& dice) {
  std::int64_t drawn = dice.Below(100);
  for (const Target& target : kTargets) {
    if (drawn < target.share) return target;
    drawn -= target.share;
  }
  return kTargets[0];
}

class CutConsumption {
 public:
  // Number `part` of the plan.
  CutConsumption(const CampaignOptions& options, std::size_t part, bool is_plain,
                 CampaignReport& report)
      : label_(absl::StrCat(is_plain ? "plain" : "transactional", " (seed ", options.seed, " part ",
                            part, ")")),
        workload_{.seed = Draw(options.seed, part) % 1'000'000,
                  .messages = kMessagesAtFirst,
                  .partitions = kPartitions,
                  .odd_one_in = 12},
        dice_(workload_.seed),
        report_(report),
        proxy_(options.brokers),
        scene_("commit-cut", options.brokers, workload_,
               {.is_plain = is_plain,
                .members = 2,
                .session_ms = 3000,
                .hint_ms = 20,
                .churn_ms = 1500,
                .reconnect_ms = 200}) {
    scene_.task().brokers = proxy_.address();
  }

  void Run(std::int64_t cuts_per_side) {
    const auto child = scene_.StartLife();
    if (!child->WaitForBeats(1, absl::Seconds(60))) {
      report_.violations.push_back(label_ + ": nothing is handled before the first cut");
      return;
    }
    std::int64_t missed = 0;
    for (std::int64_t cut = 0; cut < 2 * cuts_per_side;) {
      if (CutOnce(cut % 2 == 1)) {
        ++cut;
        ++cuts_;
      } else if (++missed > 20 + cuts_per_side) {
        report_.violations.push_back(absl::StrCat(label_, ": no more requests to cut after ", cut));
        return;
      }
    }
    proxy_.Disarm();
    if (scene_.Drain(*child, absl::Minutes(5)) != LifeEnd::kDrained) {
      report_.violations.push_back(label_ + ": it did not settle everything and stop");
    }
    scene_.Judge(report_, label_);
    report_.extras["cuts"] = cuts_;
  }

 private:
  bool CutOnce(bool is_applied) {
    const Target& target = DrawTarget(dice_);
    const absl::Duration silence = absl::Milliseconds(dice_.OneIn(4) ? dice_.Below(300) : 0);
    proxy_.Arm({.request = target.request, .is_applied = is_applied, .silence = silence});
    scene_.broker().Produce(MessagesOf(workload_, scene_.task().topic, next_, kMessagesPerCut));
    scene_.ExpectMore(kMessagesPerCut);
    next_ += kMessagesPerCut;
    if (!proxy_.AwaitCut(kPatience)) return false;
    Json& count = report_.extras[absl::StrCat(target.name, is_applied ? "_after" : "_before")];
    count = count.is_null() ? 1 : count.get<std::int64_t>() + 1;
    return true;
  }

  const std::string label_;
  const Workload workload_;
  Dice dice_;
  CampaignReport& report_;
  KafkaProxy proxy_;
  Scene scene_;
  std::int64_t next_ = kMessagesAtFirst;
  std::int64_t cuts_ = 0;
};

CampaignReport Run(const CampaignOptions& options) {
  const std::int64_t processes = (options.runs + kCutsPerProcess - 1) / kCutsPerProcess;
  CampaignReport total;
  std::mutex mutex;
  std::int64_t planned = 0;
  constexpr std::size_t kWorkers = 4;
  ForEachInParallel(static_cast<std::size_t>(2 * processes), kWorkers, [&](std::size_t i) {
    const std::int64_t first = static_cast<std::int64_t>(i) / 2 * kCutsPerProcess;
    CampaignReport report;
    const std::int64_t cuts = std::min(kCutsPerProcess, options.runs - first);
    CutConsumption(options, i, i % 2 == 1, report).Run(cuts);
    const std::lock_guard lock(mutex);
    Add(report, total);
    planned += 2 * cuts;
    Say(absl::StrCat(planned, " of ", 4 * options.runs, " cuts"));
  });
  return total;
}

}  // namespace

Campaign CommitCutCampaign() {
  return {.name = "commit-cut",
          .what = "connections cut before and after the broker has carried out a request",
          .runs = 500,
          .quick_runs = 2,
          .run = &Run,
          .child = &Consume};
}

}  // namespace once::campaign
