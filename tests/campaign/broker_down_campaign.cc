// broker-down: the brokers go away under producers: killed by SIGKILL, or frozen by SIGSTOP, and
// come back; in every other round the sending processes die too, by SIGKILL, some at named places
// of the spool, and others go on with their spools. In the rounds `cluster` two of three brokers
// are frozen, twice. What a producer has told of each message is in a file; a raw client reads the
// topics at the end: nothing that was told to be stored, or spooled, may be missing, and nothing
// that was told not to be stored may be there.
#include <signal.h>
#include <sys/wait.h>

#include <filesystem>
#include <memory>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/tests/kafka_servers.h"
#include "src/test_hooks.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/sending_process.h"
#include "tests/campaign/sent_evidence.h"
#include "tests/campaign/sent_topic.h"
#include "tests/campaign/small_scene.h"
#include "tests/campaign/unsettled.h"
#include "tests/integration/child.h"
#include "tests/scratch_folder.h"

namespace once::campaign {
namespace {

using kafka::testing::KafkaServers;
using kafka::testing::TestBroker;

constexpr const char* kName = "broker-down";
constexpr std::int32_t kPartitions = 6;
constexpr int kClusterBrokers = 3;
constexpr int kFrozenBrokers = 2;
// Of a cluster: freezes one after the other, thawed for a while between them.
constexpr int kFreezes = 2;
constexpr absl::Duration kThawed = absl::Seconds(10);
constexpr absl::Duration kPatience = absl::Seconds(60);
constexpr absl::Duration kEndPatience = absl::Minutes(5);

enum class Attack { kKill, kFreeze, kCluster };

struct RoundPlan {
  Attack attack = Attack::kKill;
  bool kills_senders = false;

  std::string label() const {
    const std::string what = attack == Attack::kKill     ? "killed"
                             : attack == Attack::kFreeze ? "frozen"
                                                         : "cluster";
    return kills_senders ? what + "-and-senders" : what;
  }
};

// In turns: six rounds have them all.
constexpr RoundPlan kPlans[] = {{Attack::kKill, false},    {Attack::kFreeze, true},
                                {Attack::kCluster, false}, {Attack::kKill, true},
                                {Attack::kFreeze, false},  {Attack::kCluster, true}};

// One mode of sending, its topic, its processes one after the other, and what they were told.
class Sender {
 public:
  Sender(TestBroker& broker, const KafkaServers& servers, const std::string& mode,
         std::int64_t outage_seconds, bool is_wrong)
      : broker_(broker), servers_(servers), topic_(broker.NewTopic(kPartitions)) {
    task_ = {.brokers = servers.addresses(),
             .topic = topic_,
             .mode = mode,
             .spool = folder_.File("spool.db"),
             .outcomes = folder_.File("outcomes"),
             .log = folder_.File("log"),
             // Messages are given up while the brokers are away.
             .delivery_ms = static_cast<int>(outage_seconds * 700),
             .is_wrong = is_wrong};
  }

  const std::string& mode() const { return task_.mode; }
  std::int64_t deaths() const { return deaths_; }

  void Start(const std::string& place = "") {
    ++task_.life;
    testing::Environment environment;
    if (!place.empty()) environment.emplace_back("ONCE_KILL_AT", place);
    child_ = std::make_unique<testing::Child>(
        std::vector<std::string>{kName, Json(nlohmann::json(task_)).dump()}, environment);
  }

  // Whether it is at work: so many messages later.
  bool AwaitWork() { return child_->WaitForBeats(5, kPatience); }

  // What is wrong; empty: nothing.
  std::string Kill() {
    const std::optional<int> ended = child_->AwaitEnd(absl::ZeroDuration());
    const int status = ended ? *ended : child_->End(SIGKILL);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
      return absl::StrCat("a process ended by itself, with wait status ", status, "\n",
                          TailOf(task_.log));
    }
    ++deaths_;
    return "";
  }

  // Asks it to settle everything, and sees it end; what is wrong.
  std::string Finish() {
    child_->Send(SIGTERM);
    const std::optional<int> ended = child_->AwaitEnd(kEndPatience);
    if (ended == 0) return "";
    if (!ended) child_->End(SIGKILL);
    return absl::StrCat(ended ? absl::StrCat("it ends with wait status ", *ended)
                              : "it does not settle everything in time",
                        "\n", TailOf(task_.log));
  }

  void Judge(const std::string& label, CampaignReport& report) {
    const bool is_spooling = task_.mode != "direct";
    SentTruth truth{.topic = topic_,
                    .copies = ReadCopies(broker_, topic_),
                    .may_be_renumbered = task_.mode == "when-unreachable",
                    .may_have_gaps = task_.mode != "write-ahead"};
    std::int64_t accepted = 0;
    std::int64_t unknown = 0;
    std::int64_t refused = 0;
    std::int64_t spooled = 0;
    const std::vector<ToldOutcome> outcomes = ReadOutcomes(task_.outcomes);
    for (const ToldOutcome& outcome : outcomes) {
      const std::string& word = outcome.word;
      const bool is_accepted = word == kWordStored || word == kWordSpooled;
      accepted += is_accepted ? 1 : 0;
      spooled += word == kWordSpooled ? 1 : 0;
      unknown += word == kWordUnknown ? 1 : 0;
      refused += word == kWordNotStored ? 1 : 0;
      if (word == kWordUnknown) continue;
      truth.fates.emplace(outcome.name, is_accepted ? Fate::kStored : Fate::kNotStored);
    }
    const SentJudgement judgement = JudgeSent(truth);
    AddSent(judgement, label, report);
    if (judgement.missing > 0) KeepWhatIsKnown(truth, judgement, outcomes, label, report);
    // One that dies early in a short outage need not have noticed it.
    if (is_spooling && deaths_ == 0 && spooled == 0) {
      report.violations.push_back(label + ": nothing was spooled");
    }
    const auto add = [&report](const std::string& figure, std::int64_t number) {
      report.extras[figure] = report.extras.value(figure, std::int64_t{0}) + number;
    };
    add("accepted", accepted);
    add("spooled", spooled);
    add("unknown", unknown);
    add("not_stored", refused);
    add("not_stored_but_there", judgement.surplus);
    add("repeats", judgement.repeats);
    add("duplicates_beyond_ids", judgement.unlike_ids);
    add("order_inversions", judgement.order_inversions);
    add("numbers_reused", judgement.numbers_reused);
    add("renumbered", judgement.renumbered);
    add("sender_deaths", deaths_);
  }

 private:
  void KeepWhatIsKnown(const SentTruth& truth, const SentJudgement& judgement,
                       const std::vector<ToldOutcome>& outcomes, const std::string& label,
                       CampaignReport& report) const {
    Evidence evidence{.truth = truth,
                      .judgement = judgement,
                      .outcomes = outcomes,
                      .copied = {{task_.outcomes, "outcomes"}, {task_.log, "sender-log"}}};
    for (const auto& [file, name] : servers_.ListFiles(topic_)) {
      evidence.copied.emplace_back(file, name);
    }
    const std::string folder = KeepEvidence(evidence);
    // Of a round that is wrong on purpose only that there is some is of interest.
    if (task_.is_wrong) {
      std::filesystem::remove_all(folder);
      return;
    }
    report.violations.push_back(
        absl::StrCat(label, ": what is known of what is lost is in ", folder, "\n",
                     DescribeMissing(judgement.missing_names, outcomes, truth.copies)));
  }

  TestBroker& broker_;
  const KafkaServers& servers_;
  const testing::ScratchFolder folder_;
  const std::string topic_;
  SendingTask task_;
  std::unique_ptr<testing::Child> child_;
  std::int64_t deaths_ = 0;
};

// All modes under one outage at a time.
class Round {
 public:
  Round(KafkaServers& servers, const RoundPlan& plan, const CampaignOptions& options,
        std::uint64_t number, bool is_wrong, CampaignReport& report)
      : servers_(servers),
        plan_(plan),
        outage_(absl::Seconds(options.outage_seconds)),
        label_(absl::StrCat(plan.label(), " (round ", number, ", --seed ", options.seed, ")")),
        dice_(options.seed * 1'000 + number),
        report_(report),
        broker_(servers.addresses()) {
    for (const std::string& point : test_hooks::KillPoints()) {
      if (point.starts_with("spool.") || point.starts_with("outbox_relay.")) {
        points_.push_back(point);
      }
    }
    for (const std::string_view mode : {"write-ahead", "when-unreachable", "direct"}) {
      senders_.push_back(std::make_unique<Sender>(broker_, servers, std::string(mode),
                                                  options.outage_seconds, is_wrong));
    }
  }

  void Play() {
    for (const auto& sender : senders_) sender->Start();
    for (const auto& sender : senders_) {
      if (!sender->AwaitWork()) return Complain(*sender, "it sends nothing");
    }
    const int outages = plan_.attack == Attack::kCluster ? kFreezes : 1;
    for (int outage = 0; outage < outages; ++outage) {
      if (outage > 0) absl::SleepFor(kThawed);
      absl::SleepFor(absl::Milliseconds(dice_.Below(1'000)));
      TakeAway();
      Endure();
      GiveBack();
    }
    // At work again, and killed once more: what was spooled meanwhile is on its way.
    absl::SleepFor(absl::Seconds(2));
    if (plan_.kills_senders) KillAll();
    absl::SleepFor(absl::Seconds(1));
    for (const auto& sender : senders_) {
      if (const std::string wrong = sender->Finish(); !wrong.empty()) Complain(*sender, wrong);
    }
    for (const auto& sender : senders_) {
      sender->Judge(absl::StrCat(label_, ", ", sender->mode()), report_);
    }
  }

 private:
  void Complain(const Sender& sender, const std::string& what) {
    report_.violations.push_back(absl::StrCat(label_, ", ", sender.mode(), ": ", what));
  }

  void TakeAway() {
    if (plan_.attack == Attack::kKill) return servers_.Kill(0);
    if (plan_.attack == Attack::kFreeze) return servers_.Freeze(0);
    // Another pair each time.
    spared_ = static_cast<int>(dice_.Below(kClusterBrokers));
    for (int i = 0; i < kClusterBrokers; ++i) {
      if (i != spared_) servers_.Freeze(i);
    }
    static_assert(kFrozenBrokers == kClusterBrokers - 1);
  }

  void GiveBack() {
    if (plan_.attack == Attack::kKill) return servers_.Start(0);
    if (plan_.attack == Attack::kFreeze) return servers_.Thaw(0);
    for (int i = 0; i < kClusterBrokers; ++i) {
      if (i != spared_) servers_.Thaw(i);
    }
  }

  // The outage, in which processes may die.
  void Endure() {
    const absl::Time end = absl::Now() + outage_;
    if (plan_.kills_senders) {
      absl::SleepFor(absl::Milliseconds(dice_.Below(absl::ToInt64Milliseconds(outage_ / 2))));
      KillAll();
    }
    absl::SleepFor(end - absl::Now());
  }

  // Those that come after them may die at a place of their own choice.
  void KillAll() {
    for (const auto& sender : senders_) {
      for (int again = dice_.OneIn(2) ? 2 : 1; again > 0; --again) {
        if (const std::string wrong = sender->Kill(); !wrong.empty()) Complain(*sender, wrong);
        sender->Start(again == 2 ? DrawPlace() : "");
        if (again == 2) absl::SleepFor(absl::Seconds(1));
      }
    }
  }

  std::string DrawPlace() {
    const auto count = static_cast<std::int64_t>(points_.size());
    return absl::StrCat(points_[static_cast<std::size_t>(dice_.Below(count))], ":",
                        1 + dice_.Below(20));
  }

  KafkaServers& servers_;
  const RoundPlan plan_;
  const absl::Duration outage_;
  const std::string label_;
  Dice dice_;
  CampaignReport& report_;
  TestBroker broker_;
  std::vector<std::string> points_;
  std::vector<std::unique_ptr<Sender>> senders_;
  int spared_ = 0;
};

CampaignReport Run(const CampaignOptions& options) {
  CampaignReport report;
  std::vector<RoundPlan> plans;
  for (const RoundPlan& plan : kPlans) {
    if (plan.label().find(options.only) != std::string::npos) plans.push_back(plan);
  }
  if (plans.empty()) {
    report.violations.push_back("there are no rounds " + options.only);
    return report;
  }
  std::unique_ptr<KafkaServers> one;
  std::unique_ptr<KafkaServers> cluster;
  for (std::int64_t round = 0; round < options.runs; ++round) {
    const RoundPlan& plan = plans[static_cast<std::size_t>(round) % plans.size()];
    auto& servers = plan.attack == Attack::kCluster ? cluster : one;
    if (servers == nullptr) {
      servers =
          std::make_unique<KafkaServers>(plan.attack == Attack::kCluster ? kClusterBrokers : 1);
    }
    Say(absl::StrCat("round ", round + 1, " of ", options.runs, ": ", plan.label()));
    Round(*servers, plan, options, static_cast<std::uint64_t>(round),
          /*is_wrong=*/false, report)
        .Play();
    report.extras["outages"] = report.extras.value("outages", std::int64_t{0}) +
                               (plan.attack == Attack::kCluster ? kFreezes : 1);
  }
  CampaignOptions soon = options;
  soon.outage_seconds = 2;
  CampaignReport wrong;
  if (one == nullptr) one = std::make_unique<KafkaServers>();
  Round(*one, kPlans[0], soon, static_cast<std::uint64_t>(options.runs), /*is_wrong=*/true, wrong)
      .Play();
  NoteWrong("a client that forgets records", wrong, report);
  return report;
}

}  // namespace

Campaign BrokerDownCampaign() {
  return {.name = kName,
          .what = "brokers are killed or frozen under producers and spools, and come back",
          .runs = 3,
          .quick_runs = 2,
          .needs_broker = false,
          .takes_only = true,
          .outage_seconds = 10,
          .quick_outage_seconds = 5,
          .why_not = &kafka::testing::WhyNoKafkaServers,
          .run = &Run,
          .child = &SendUntilStopped};
}

}  // namespace once::campaign
