// loss-detector: producers of several names and many lives, some ended by SIGKILL, fill a topic of
// one cluster with numbered messages. A mirror copies it to another one, under the same offsets,
// and leaves out what the plan says; some more is deleted from the front of partitions before it
// was read. Two members of a group consume the copy, with retries, rejections, repeated records and
// a rebalance now and then, and are killed again and again. At the end `once loss report` must name
// exactly the ranges that did not arrive.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <iostream>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/tests/kafka_servers.h"
#include "once/kafka/record_client.h"
#include "once/producer.h"
#include "once/sequence.h"
#include "src/test_hooks.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/child_life.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/leaky_mirror.h"
#include "tests/campaign/loss_truth.h"
#include "tests/campaign/outbox_process.h"
#include "tests/campaign/scene.h"
#include "tests/campaign/unsettled.h"
#include "tests/integration/consumer_group.h"
#include "tests/once_command.h"

namespace once::campaign {
namespace {

using kafka::testing::KafkaServers;
using kafka::testing::TestBroker;
using testing::Must;

constexpr const char* kName = "loss-detector";
constexpr std::int32_t kPartitions = 6;
constexpr std::int64_t kMessagesPerGap = 30;
// Lives of producers: every fourth is killed, every fifth is so short that whole streams get lost.
constexpr std::int64_t kProducerLives = 24;
constexpr std::int64_t kMessagesOfAShortLife = 15;
constexpr int kProducers = 3;
// What the first topic takes at most, and what is sent nevertheless.
constexpr const char* kMessageBytesMax = "20000";
constexpr std::size_t kOversizedBytes = 30'000;
// The broker's bound is one of batches.
constexpr const char* kBatchBytesMax = "10000";
// Of each of the lives that publish through an outbox.
constexpr std::int64_t kOutboxRows = 1'000;
constexpr int kGapGraceMs = 1'000;
constexpr absl::Duration kPatience = absl::Minutes(2);
constexpr absl::Duration kPlacePatience = absl::Seconds(4);
// How much is copied before the fronts are deleted, and from where on messages are left out.
constexpr int kBeforeDeleted = 10;
constexpr int kUntilDeleted = 20;
constexpr std::int64_t kDeletedMax = 30;
constexpr std::size_t kShown = 5;

// One life of a producer: sends its places of the workload, and ends, or dies on its way.
int Produce(const Json& task) {
  const std::string brokers = task.at("brokers");
  const std::shared_ptr<LogSink> log = OpenLog(task.at("log"));
  const auto producer = Must(Producer::Create(
      {.clients = kafka::RecordClients(
           {.brokers = brokers, .properties = {{"batch.size", kBatchBytesMax}}, .log = log}),
       .stamps = {.producer = task.at("producer"),
                  .mark_interval = absl::Milliseconds(100),
                  .create_marks_topic = kafka::MarksTopics({.brokers = brokers, .log = log})},
       .log = log}));
  const Workload workload{.seed = task.at("seed"),
                          .messages = task.at("messages"),
                          .partitions = kPartitions,
                          .odd_one_in = 60};
  const std::int64_t count = task.at("count");
  const std::int64_t dies_at = task.at("dies_at");
  // One message that no broker takes: the producer gives its number up, and says so.
  const std::int64_t oversized_at = task.at("oversized_at");
  std::int64_t sent = 0;
  std::atomic<std::int64_t> stored = 0;
  for (OutgoingMessage& message : MessagesOf(workload, task.at("topic"), task.at("first"), count)) {
    if (++sent == oversized_at) message.value->resize(kOversizedBytes, 'x');
    producer->Send(std::move(message), [&stored, dies_at](const SendOutcome& outcome) {
      if (outcome.status.ok() && ++stored == dies_at) raise(SIGKILL);
    });
  }
  const Undelivered left = producer->Close(absl::Now() + kPatience);
  if (left.count == (oversized_at > 0 ? 1 : 0)) return 0;
  std::cerr << left.count << " messages were not delivered\n";
  return 1;
}

int Live(const Json& task) {
  if (!task.contains("producer")) return Consume(task);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  return Produce(task);
}

class Losses {
 public:
  Losses(const CampaignOptions& options, CampaignReport& report)
      : kills_(options.runs),
        gaps_(options.size),
        label_(absl::StrCat("--seed ", options.seed)),
        dice_(options.seed),
        report_(report),
        source_(upstream_.addresses()),
        scene_(kName, options.brokers,
               {.seed = options.seed, .messages = 0, .partitions = kPartitions},
               {.is_cooperative = dice_.OneIn(2),
                .members = 2,
                .session_ms = 2000,
                .hint_ms = 100,
                .batch_messages_max = 200,
                .invocations_per_beat = 50,
                .gap_grace_ms = kGapGraceMs}) {
    scene_.broker().CreateTopic(MarksTopic(topic()), 1, {{"cleanup.policy", "compact,delete"}});
    source_.CreateTopic(topic(), kPartitions, {{"max.message.bytes", kMessageBytesMax}});
    source_.CreateTopic(MarksTopic(topic()), 1, {{"cleanup.policy", "compact,delete"}});
  }
  ~Losses() {
    try {
      scene_.broker().DeleteTopic(MarksTopic(topic()));
    } catch (const std::exception& error) {
      Say(absl::StrCat("a topic stays: ", error.what()));
    }
  }
  Losses(const Losses&) = delete;
  Losses& operator=(const Losses&) = delete;

  void Run() {
    if (!ProduceAll()) return;
    LeakyMirror mirror(source_, scene_.broker(), topic(), Dice(dice_.Next()));
    report_.messages = mirror.records();
    report_.extras["gaps_of_producers"] = FindLost(mirror.truth()).size();
    if (!DeleteFronts(mirror)) return;
    const std::size_t deleted = FindLost(mirror.truth()).size();
    mirror.PlanGaps(static_cast<std::size_t>(
        std::max<std::int64_t>(gaps_ - static_cast<std::int64_t>(deleted), 0)));
    report_.extras["gaps_by_deletion"] = deleted;
    for (std::int64_t kill = 0; kill < kills_; ++kill) {
      const auto share = static_cast<int>((100 - kUntilDeleted) * (kill + 1) / (kills_ + 1));
      if (!LiveAndDie(mirror, kill, kUntilDeleted + share)) return;
      if (kill % 10 == 9) Say(absl::StrCat(kill + 1, " of ", kills_, " kills"));
    }
    mirror.Forward(100);
    mirror.ForwardMarks(100);
    report_.extras["kills"] = kills_;
    report_.extras["repeated_records"] = mirror.copied_twice();
    if (Settle()) Judge(mirror);
  }

 private:
  const std::string& topic() { return scene_.task().topic; }
  const std::string& store() { return scene_.task().store; }

  void Complain(const std::string& what) {
    report_.violations.push_back(absl::StrCat(label_, ": ", what));
  }

  bool ProduceAll() {
    const std::int64_t messages = std::max<std::int64_t>(gaps_ * kMessagesPerGap, 2'000);
    Say(absl::StrCat("producing ", messages, " messages"));
    std::int64_t next = 0;
    for (std::int64_t life = 0; next < messages; ++life) {
      const bool is_short = life % 5 == 4;
      const bool dies = life % 4 == 3 && !is_short;
      const bool is_oversized = life % 4 == 1 && !is_short;
      const std::int64_t count =
          std::min(messages - next, is_short ? kMessagesOfAShortLife : messages / kProducerLives);
      testing::Child child({kName, Json{{"brokers", upstream_.addresses()},
                                        {"topic", topic()},
                                        {"log", folder_.File("producers.log")},
                                        {"producer", absl::StrCat("shop-", life % kProducers)},
                                        {"seed", scene_.workload().seed},
                                        {"messages", messages},
                                        {"first", next},
                                        {"count", count},
                                        {"oversized_at", is_oversized ? 1 + dice_.Below(count) : 0},
                                        {"dies_at", dies ? 1 + dice_.Below(count) : 0}}
                                       .dump()});
      next += count;
      const std::optional<int> ended = child.AwaitEnd(kPatience);
      const bool is_right =
          ended && (dies ? WIFSIGNALED(*ended) && WTERMSIG(*ended) == SIGKILL : *ended == 0);
      if (is_right) continue;
      Complain(absl::StrCat("a producer ended ",
                            ended ? absl::StrCat("with wait status ", *ended) : "not at all", "\n",
                            TailOf(folder_.File("producers.log"))));
      return false;
    }
    return PublishThroughOutbox();
  }

  // A relay is killed, and its successor sends again what was on its way, under the same numbers.
  bool PublishThroughOutbox() {
    OutboxTask task{.brokers = upstream_.addresses(),
                    .topic = topic(),
                    .book = "sqlite",
                    .store = folder_.File("outbox.db"),
                    .answered = folder_.File("answered"),
                    .log = folder_.File("producers.log"),
                    .rows_max = kOutboxRows,
                    .round_rows_max = 50};
    for (const char* const place : {"outbox_relay.advanced:5", "outbox_relay.reported:3", ""}) {
      ++task.life;
      task.seed = dice_.Next();
      task.drains = *place == '\0';
      testing::Environment environment;
      if (!task.drains) environment.emplace_back("ONCE_KILL_AT", place);
      testing::Child child({OutboxKillCampaign().name.data(), Json(nlohmann::json(task)).dump()},
                           environment);
      const std::optional<int> ended = child.AwaitEnd(kPatience);
      const bool is_right =
          ended && (task.drains ? *ended == 0 : WIFSIGNALED(*ended) && WTERMSIG(*ended) == SIGKILL);
      if (is_right) continue;
      Complain(absl::StrCat("a relay ended ",
                            ended ? absl::StrCat("with wait status ", *ended) : "not at all", "\n",
                            TailOf(task.log)));
      return false;
    }
    return true;
  }

  bool Drain(const std::string& when) {
    if (scene_.DrainOnce(kPatience) == LifeEnd::kDrained) return true;
    Complain(absl::StrCat(when, ": ", scene_.trouble()));
    return false;
  }

  // What the log deletes while nobody consumes. Who reads it next must come to a commit there:
  // until then it is known by its offsets only.
  bool DeleteFronts(LeakyMirror& mirror) {
    mirror.Forward(kBeforeDeleted);
    mirror.ForwardMarks(static_cast<int>(dice_.Below(100)));
    if (!Drain("the first messages")) return false;
    mirror.Forward(kUntilDeleted);
    for (const auto& [number, partition] : scene_.ReadPartitions()) {
      if (dice_.OneIn(3)) continue;
      const std::int64_t first = partition.position.value_or(0);
      const std::int64_t end = std::min(first + 1 + dice_.Below(kDeletedMax), partition.end - 1);
      if (end <= first) continue;
      scene_.broker().Truncate({topic(), number}, end);
      mirror.NoteDeleted(number, first, end);
    }
    return Drain("behind what was deleted");
  }

  bool LiveAndDie(LeakyMirror& mirror, std::int64_t kill, int hundredths) {
    scene_.task().churn_ms = kill % 3 == 2 ? 100 + static_cast<int>(dice_.Below(300)) : 0;
    testing::Environment environment;
    const bool has_place = kill % 4 == 1;
    if (has_place) {
      environment.emplace_back("ONCE_KILL_AT", absl::StrCat(dice_.OneIn(2) ? "losses.before_commit:"
                                                                           : "losses.committed:",
                                                            1 + dice_.Below(3)));
    }
    const auto child = scene_.StartLife(environment);
    mirror.Forward(hundredths);
    if (dice_.OneIn(3)) mirror.ForwardMarks(hundredths);
    std::optional<int> ended;
    if (has_place) {
      ended = child->AwaitEnd(kPlacePatience);
      places_ += ended ? 1 : 0;
    } else {
      child->WaitForBeats(static_cast<int>(dice_.Below(10)), absl::Seconds(5));
      // Now and then so late that gaps are suspected meanwhile.
      absl::SleepFor(absl::Milliseconds(dice_.Below(dice_.OneIn(3) ? 3 * kGapGraceMs : 200)));
    }
    const int status = ended ? *ended : child->End(SIGKILL);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return true;
    Complain(absl::StrCat("a consumer ended by itself, with wait status ", status, "\n",
                          TailOf(scene_.histories().back() + kLogSuffix)));
    return false;
  }

  testing::CommandResult AskForLosses() {
    return testing::RunOnce({"loss", "report", "--json", "--store", store()});
  }

  // Lives in peace, until nothing waits for its grace to pass.
  bool Settle() {
    scene_.task().churn_ms = 0;
    constexpr int kLives = 5;
    for (int life = 0; life < kLives; ++life) {
      const auto child = scene_.StartLife();
      absl::SleepFor((life + 1) * absl::Milliseconds(4 * kGapGraceMs));
      if (scene_.Drain(*child, kPatience) != LifeEnd::kDrained) {
        Complain("the rest: " + scene_.trouble());
        return false;
      }
      const auto report = AskForLosses().Json();
      if (report.is_object() && report.value("waiting_messages", 1) == 0) return true;
    }
    return true;
  }

  void Judge(const LeakyMirror& mirror) {
    const testing::CommandResult result = AskForLosses();
    const auto document = result.Json();
    if (!document.is_object()) return Complain("no report: " + result.errors);
    std::set<LostRange> reported;
    std::int64_t given_up = 0;
    for (const auto& stream : document.at("streams")) {
      StreamId id{.partition = stream.at("partition"), .producer = stream.at("producer")};
      if (!absl::SimpleHexAtoi(stream.at("epoch").get<std::string>(), &id.epoch)) {
        return Complain("no epoch: " + stream.dump());
      }
      for (const auto& range : stream.at("missing")) {
        reported.insert({.stream = id, .first = range.at("first"), .last = range.at("last")});
      }
      given_up += stream.at("given_up").get<std::int64_t>();
    }
    const std::set<LostRange> lost = FindLost(mirror.truth());
    const LossJudgement judgement = JudgeLosses(lost, reported);
    report_.lost = judgement.missed;
    Json& extras = report_.extras;
    extras["injected"] = judgement.injected;
    extras["missed"] = judgement.missed;
    extras["false_alarms"] = judgement.false_alarms;
    extras["waiting"] = document.at("waiting_messages").get<std::int64_t>();
    extras["given_up"] = given_up;
    std::int64_t given_numbers = 0;
    for (const auto& [stream, truth] : mirror.truth()) {
      given_numbers += static_cast<std::int64_t>(truth.given_up.size());
    }
    extras["void_numbers"] = given_numbers;
    extras["streams"] = mirror.truth().size();
    extras["kill_points"] = places_;
    Show("is not reported: ", lost, reported);
    Show("is reported, and is not lost: ", reported, lost);
    if (extras["waiting"] != 0 || given_up != 0) Complain("something is left: " + result.output);
  }

  // What is in `these` and not in `those`.
  void Show(const char* what, const std::set<LostRange>& these, const std::set<LostRange>& those) {
    std::size_t shown = 0;
    for (const LostRange& range : these) {
      if (!those.contains(range) && ++shown <= kShown) Complain(what + Describe(range));
    }
  }

  const std::int64_t kills_;
  const std::int64_t gaps_;
  const std::string label_;
  Dice dice_;
  CampaignReport& report_;
  const testing::ScratchFolder folder_;
  KafkaServers upstream_;
  TestBroker source_;
  Scene scene_;
  std::int64_t places_ = 0;
};

CampaignReport Run(const CampaignOptions& options) {
  CampaignReport report;
  Losses(options, report).Run();
  return report;
}

}  // namespace

Campaign LossDetectorCampaign() {
  return {.name = kName,
          .what = "leaves numbered messages out on their way: the report must name exactly these",
          .runs = 20,
          .quick_runs = 2,
          .size_flag = "--gaps",
          .size = 200,
          .quick_size = 20,
          .why_not = &kafka::testing::WhyNoKafkaServers,
          .run = &Run,
          .child = &Live};
}

}  // namespace once::campaign
