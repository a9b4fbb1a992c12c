// graceful-stop: SIGTERM under load, with one member and with three. The process exits with 0
// within the deadline, what it leaves committed at the broker is what the store has settled, and in
// all lives together every message is settled once and every id invoked once: nothing is
// redelivered.
#include <signal.h>
#include <sys/wait.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/history.h"
#include "tests/campaign/scene.h"

namespace once::campaign {
namespace {

constexpr std::int32_t kPartitions = 6;
constexpr std::int64_t kMessagesPerStop = 4'000;
// ConsumerTimes::stop_deadline is half a minute; a handler here takes microseconds.
constexpr absl::Duration kDeadline = absl::Seconds(10);

class Stops {
 public:
  Stops(const CampaignOptions& options, std::int64_t stops, bool is_plain, CampaignReport& report)
      : options_(options),
        stops_(stops),
        is_plain_(is_plain),
        label_(is_plain ? "plain" : "transactional"),
        report_(report),
        scene_(
            "graceful-stop", options.brokers,
            {.seed = options.seed,
             .messages = stops * kMessagesPerStop,
             .partitions = kPartitions,
             .odd_one_in = 1'000'000'000},  // copies, and nothing that is invoked twice by design
            {.is_plain = is_plain, .invocations_per_beat = 50, .empties_outbox = false}) {}

  void Run() {
    for (std::int64_t stop = 0; stop < stops_; ++stop) {
      if (!StopOnce(stop)) return;
      if (stop % 10 == 9) Say(absl::StrCat(label_, ": stop ", stop + 1, " of ", stops_));
    }
    scene_.task().empties_outbox = true;
    if (scene_.DrainOnce(absl::Minutes(10)) != LifeEnd::kDrained) Find("the rest does not settle");
    scene_.Judge(report_, label_);
    CountRedelivered();
    report_.extras[label_ + "_slowest_stop_seconds"] = absl::ToDoubleSeconds(slowest_);
  }

 private:
  void Find(const std::string& what) { report_.violations.push_back(label_ + ": " + what); }

  bool StopOnce(std::int64_t stop) {
    const std::uint64_t drawn = Draw(options_.seed, static_cast<std::uint64_t>(stop));
    scene_.task().members = stop % 2 == 0 ? 1 : 3;
    const auto child = scene_.StartLife();
    if (!child->WaitForBeats(1 + static_cast<int>(drawn % 50), absl::Seconds(60))) {
      Find(absl::StrCat("nothing is handled before stop ", stop));
      return false;
    }
    absl::SleepFor(absl::Microseconds(static_cast<std::int64_t>(drawn >> 32) % 20'000));
    const absl::Time begin = absl::Now();
    child->Send(SIGTERM);
    const std::optional<int> ended = child->AwaitEnd(kDeadline);
    slowest_ = std::max(slowest_, absl::Now() - begin);
    if (!ended || !WIFEXITED(*ended) || WEXITSTATUS(*ended) != 0) {
      Find(absl::StrCat("stop ", stop, " ended ",
                        ended ? absl::StrCat("with status ", *ended) : "not at all"));
      return false;
    }
    // A plain handler's position is the committed offset.
    if (is_plain_) return true;
    for (const auto& [number, partition] : scene_.ReadPartitions()) {
      if (partition.committed.value_or(0) == partition.position.value_or(0)) continue;
      Find(absl::StrCat("after stop ", stop, " offset ", partition.committed.value_or(-1),
                        " is committed and ", partition.position.value_or(-1),
                        " settled, partition ", number));
    }
    return true;
  }

  // What was settled or invoked more often than there is reason to.
  void CountRedelivered() {
    std::int64_t settled = 0;
    std::int64_t invocations = 0;
    ReadHistory(scene_.histories(), [&](const HistoryEvent& event) {
      if (event.call == "stats") settled += event.details.at("settled").get<std::int64_t>();
      if (event.call == "handle" && event.how == "invoke") ++invocations;
    });
    const Truth truth = scene_.ReadTruth();
    const auto messages = static_cast<std::int64_t>(truth.deliveries.size());
    const auto ids = static_cast<std::int64_t>(truth.ids.size());
    Json& redelivered = report_.extras["redelivered"];
    redelivered = (redelivered.is_null() ? 0 : redelivered.get<std::int64_t>()) +
                  (settled - messages) + (invocations - ids);
    if (settled != messages) {
      Find(absl::StrCat(settled, " messages were settled, of ", messages));
    }
    if (invocations != ids) {
      Find(absl::StrCat(invocations, " invocations of handlers for ", ids, " ids"));
    }
  }

  const CampaignOptions& options_;
  const std::int64_t stops_;
  const bool is_plain_;
  const std::string label_;
  CampaignReport& report_;
  Scene scene_;
  absl::Duration slowest_;
};

CampaignReport Run(const CampaignOptions& options) {
  CampaignReport report;
  const std::int64_t plain = options.runs / 2;
  Stops(options, options.runs - plain, /*is_plain=*/false, report).Run();
  if (plain > 0) Stops(options, plain, /*is_plain=*/true, report).Run();
  return report;
}

}  // namespace

Campaign GracefulStopCampaign() {
  return {.name = "graceful-stop",
          .what = "SIGTERM under load: nothing is handed out again",
          .runs = 200,
          .quick_runs = 4,
          .run = &Run,
          .child = &Consume};
}

}  // namespace once::campaign
