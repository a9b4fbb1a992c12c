// Lives, and the reading of Kafka and of the store.
#include "tests/campaign/scene.h"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "once/abseil.h"
#include "once/sqlite/store.h"
#include "tests/campaign/effects_book.h"
#include "tests/campaign/postgres_book.h"
#include "tests/campaign/postgres_kind.h"
#include "tests/campaign/unsettled.h"
#include "tests/integration/consumer_group.h"

namespace once::campaign {
namespace {

using testing::Must;

constexpr absl::Duration kBrokerPatience = absl::Minutes(1);

std::vector<Delivery> ReadDeliveries(kafka::testing::TestBroker& broker, const std::string& topic) {
  std::vector<Delivery> deliveries;
  broker.ReadTopic(topic, [&](const rd_kafka_message_t& message) {
    const std::string_view value(static_cast<const char*>(message.payload), message.len);
    deliveries.push_back({.partition = message.partition,
                          .offset = message.offset,
                          .id = broker.HeaderOf(message, kIdHeader).value_or(""),
                          .value = FingerprintOf(value),
                          .kind = KindOf(value).value_or('p')});
  });
  return deliveries;
}

std::vector<Letter> ReadLetters(kafka::testing::TestBroker& broker, const std::string& topic) {
  std::vector<Letter> letters;
  broker.ReadTopic(topic, [&](const rd_kafka_message_t& message) {
    const auto header = [&](const char* name) { return broker.HeaderOf(message, name); };
    letters.push_back(
        {.id = header("once-id").value_or(""),
         .partition = std::stoi(header("once-origin-partition").value_or("-1")),
         .offset = std::stoll(header("once-origin-offset").value_or("-1")),
         .disposition = header("once-disposition").value_or(""),
         .value = FingerprintOf({static_cast<const char*>(message.payload), message.len})});
  });
  return letters;
}

}  // namespace

Scene::Scene(std::string_view campaign, const std::string& brokers, const Workload& workload,
             ConsumerTask task)
    : campaign_(campaign), workload_(workload), broker_(brokers), task_(std::move(task)) {
  task_.brokers = brokers;
  task_.topic = kafka::testing::UniqueName("campaign");
  task_.group = task_.topic + "-group";
  if (task_.store.empty()) task_.store = folder_.File("orders.db");
  if (task_.is_plain) task_.effects = folder_.File("effects");
  broker_.CreateTopic(task_.topic, workload.partitions);
  constexpr std::int64_t kMessagesPerBatch = 20'000;
  for (std::int64_t first = 0; first < workload.messages; first += kMessagesPerBatch) {
    const std::int64_t count = std::min(kMessagesPerBatch, workload.messages - first);
    broker_.Produce(MessagesOf(workload, task_.topic, first, count));
  }
  expected_ = workload.messages;
}

Scene::~Scene() {
  try {
    broker_.DeleteTopic(task_.topic);
    const std::string letters = DefaultDeadLetterTopic(task_.topic, task_.group);
    if (broker_.PartitionCount(letters) > 0) broker_.DeleteTopic(letters);
  } catch (const std::exception& error) {
    Say(absl::StrCat("a topic stays: ", error.what()));
  }
}

std::unique_ptr<testing::Child> Scene::StartLife(const testing::Environment& environment) {
  task_.history = folder_.File(absl::StrCat("history-", histories_.size()));
  histories_.push_back(task_.history);
  const Json task = nlohmann::json(task_);
  auto child = std::make_unique<testing::Child>(std::vector<std::string>{campaign_, task.dump()},
                                                environment);
  child->WaitForBeats(1, absl::Seconds(60));
  return child;
}

// A broker that is busy, or has just lost sight of itself, answers with errors that pass.
std::optional<bool> Scene::AskIfDrained() {
  try {
    const auto ends = broker_.EndOffsets(task_.topic, workload_.partitions);
    if (std::accumulate(ends.begin(), ends.end(), std::int64_t{0}) < expected_) return false;
    const auto committed = broker_.CommittedOffsets(task_.group, task_.topic, workload_.partitions);
    for (std::size_t i = 0; i < ends.size(); ++i) {
      if (committed[i].value_or(0) < ends[i]) return false;
    }
    return true;
  } catch (const std::exception& error) {
    Say(absl::StrCat("not known whether all is settled: ", error.what()));
    return std::nullopt;
  }
}

bool Scene::IsDrained() {
  const absl::Time deadline = absl::Now() + kBrokerPatience;
  for (;;) {
    if (const std::optional<bool> is_drained = AskIfDrained()) return *is_drained;
    if (absl::Now() > deadline) throw std::runtime_error("the broker does not answer");
    absl::SleepFor(absl::Milliseconds(100));
  }
}

LifeEnd Scene::Drain(testing::Child& child, absl::Duration patience) {
  trouble_.clear();
  const absl::Time deadline = absl::Now() + patience;
  std::optional<int> ended;
  while (!ended && !AskIfDrained().value_or(false)) {
    if (absl::Now() > deadline) return GiveUp(child, "not everything is settled in time");
    ended = child.AwaitEnd(absl::Milliseconds(30));
  }
  if (!ended) {
    child.Send(SIGTERM);
    ended = child.AwaitEnd(kSettlePatience);
    if (!ended) return GiveUp(child, "everything is settled, but it does not stop in time");
  }
  if (WIFSIGNALED(*ended) && WTERMSIG(*ended) == SIGKILL) return LifeEnd::kKilled;
  if (*ended == W_EXITCODE(kCouldNotBegin, 0)) throw std::runtime_error("a child could not begin");
  if (!WIFEXITED(*ended) || WEXITSTATUS(*ended) != 0) {
    NoteTrouble(absl::StrCat("it ends by itself, with wait status ", *ended));
    return LifeEnd::kFailed;
  }
  if (IsDrained()) return LifeEnd::kDrained;
  NoteTrouble("it stops by itself before everything is settled");
  return LifeEnd::kStopped;
}

LifeEnd Scene::GiveUp(testing::Child& child, const std::string& why) {
  // The server's sessions go with the process.
  std::string sessions;
  try {
    sessions = DescribeSessions(task_.store);
  } catch (const std::exception& error) {
    sessions = absl::StrCat("    the sessions cannot be read: ", error.what(), "\n");
  }
  child.End(SIGKILL);
  NoteTrouble(absl::StrCat(why, "\n", sessions));
  return LifeEnd::kStuck;
}

void Scene::NoteTrouble(const std::string& why) {
  trouble_ =
      absl::StrCat(why, why.ends_with('\n') ? "" : "\n", DescribeOpenCalls(histories_.back()),
                   TailOf(histories_.back() + kLogSuffix));
  try {
    absl::StrAppend(&trouble_, DescribeLeftover(ReadTruth()));
    if (task_.store != "memory") absl::StrAppend(&trouble_, DescribeLetters(*Open().store));
  } catch (const std::exception& error) {
    absl::StrAppend(&trouble_, "    what is left cannot be read: ", error.what(), "\n");
  }
}

LifeEnd Scene::DrainOnce(absl::Duration patience) { return Drain(*StartLife(), patience); }

Truth Scene::ReadTruth() {
  Truth truth;
  truth.handler = task_.is_plain ? HandlerKind::kPlain : HandlerKind::kTransactional;
  truth.is_store_durable = task_.store != "memory";
  truth.is_redriven = task_.takes_all;
  truth.is_rolled_back = is_rolled_back_;
  truth.deliveries = ReadDeliveries(broker_, task_.topic);
  truth.letters = ReadLetters(broker_, DefaultDeadLetterTopic(task_.topic, task_.group));
  truth.partitions = ReadPartitions();
  const bool is_postgres = !PlaceOf(task_.store).schema.empty();
  truth.effects = task_.is_plain ? ReadEffectsFile(task_.effects)
                  : is_postgres  ? ReadPostgresEffects(task_.store)
                                 : ReadEffectsTable(task_.store);
  if (!truth.is_store_durable) return truth;
  if (!task_.is_plain) {
    truth.totals = is_postgres ? ReadPostgresTotals(task_.store) : ReadEffectTotals(task_.store);
  }
  const OpenStore open = Open();
  truth.ids = ReadIds(*open.store, GroupTopicScope(task_.group, task_.topic), truth.deliveries);
  truth.outbox_pending = Must(open.store->transactions()->outbox().CountPending());
  return truth;
}

std::map<std::int32_t, PartitionTruth> Scene::ReadPartitions() {
  std::map<std::int32_t, PartitionTruth> partitions;
  const auto ends = broker_.EndOffsets(task_.topic, workload_.partitions);
  const auto committed = broker_.CommittedOffsets(task_.group, task_.topic, workload_.partitions);
  for (std::int32_t i = 0; i < workload_.partitions; ++i) {
    const auto at = static_cast<std::size_t>(i);
    partitions[i] = {.end = ends[at], .committed = committed[at]};
  }
  if (task_.store == "memory") return partitions;
  const OpenStore open = Open();
  for (const StoredPosition& row : Must(open.store->operations()->ListPositions())) {
    partitions[row.key.partition.partition].position = row.stamp.position;
  }
  return partitions;
}

Scene::OpenStore Scene::Open() const {
  OpenStore open{.no_fork = std::shared_lock(testing::ForkMutex())};
  if (!PlaceOf(task_.store).schema.empty()) {
    open.store = Must(OpenPostgresPlace(task_.store));
    return open;
  }
  open.store =
      Must(sqlite::OpenStore({.path = task_.store, .must_exist = true, .serve_operators = false}));
  return open;
}

Judgement Scene::JudgeQuietly() { return campaign::Judge(ReadTruth(), histories_); }

bool Scene::Judge(CampaignReport& report, const std::string& label) {
  return AddJudgement(ReadTruth(), histories_, label, report);
}

bool AddJudgement(const Truth& truth, const std::vector<std::string>& histories,
                  const std::string& label, CampaignReport& report) {
  const Judgement judgement = Judge(truth, histories);
  report.messages += static_cast<std::int64_t>(truth.deliveries.size());
  report.lost += judgement.lost;
  report.duplicate_effects += judgement.duplicate_effects;
  report.refused += judgement.refused;
  const auto add = [&](const char* name, std::int64_t number) {
    report.extras[name] = report.extras.value(name, std::int64_t{0}) + number;
  };
  add("fenced", judgement.fenced);
  add("invocations", judgement.invocations);
  add("reruns", judgement.reruns);
  add("dead_letters", static_cast<std::int64_t>(truth.letters.size()) - judgement.republished);
  add("republished", judgement.republished);
  // The first few with their witnesses: one cause has many victims.
  constexpr std::size_t kShown = 5;
  for (std::size_t i = 0; i < std::min(judgement.findings.size(), kShown); ++i) {
    const Finding& finding = judgement.findings[i];
    report.violations.push_back(
        absl::StrCat(label, ": ", finding.what, "\n", FindWitness(finding, histories)));
  }
  if (judgement.findings.size() > kShown) {
    report.violations.push_back(
        absl::StrCat(label, ": and ", judgement.findings.size() - kShown, " more"));
  }
  return judgement.findings.empty();
}

}  // namespace once::campaign
