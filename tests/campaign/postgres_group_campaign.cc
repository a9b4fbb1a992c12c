// postgres-group: three processes of one group over one PostgreSQL. In each round one of them is
// stopped in the midst of its work (SIGSTOP) for longer than its session, so that the others must
// take over what it holds, and goes on later; two others die by SIGKILL, one while it is stopped
// and one afterwards, and are replaced. Then the same with a store that is wrong, which must be
// found out.
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/postgres/tests/test_server.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/parallel.h"
#include "tests/campaign/postgres_attack.h"
#include "tests/campaign/postgres_kind.h"
#include "tests/campaign/scene.h"
#include "tests/campaign/small_scene.h"

namespace once::campaign {
namespace {

using postgres::testing::PrivateServer;

constexpr std::size_t kProcesses = 3;
constexpr std::int32_t kPartitions = 6;
constexpr std::int64_t kMessagesAtFirst = 4'000;
constexpr std::int64_t kMessagesPerAttack = 1'500;
constexpr int kSessionMs = 1'500;
// Whoever takes over meets the rows of the one that hangs, and waits for hung_after.
constexpr absl::Duration kStopped = absl::Milliseconds(kSessionMs + 2'000);
constexpr std::int64_t kRoundsPerGroup = 25;
constexpr std::size_t kViolationsMax = 5;
// A wrong store that keeps what a failing handler wrote.
constexpr const char* kWrong = "savepoint-ignored";

class AttackedGroup {
 public:
  AttackedGroup(const CampaignOptions& options, std::uint64_t part, std::string bug,
                CampaignReport& report)
      : label_(absl::StrCat("seed ", options.seed, " part ", part)),
        workload_{.seed = Draw(options.seed, part) % 1'000'000,
                  .messages = kMessagesAtFirst,
                  .partitions = kPartitions,
                  .odd_one_in = 200},
        dice_(workload_.seed),
        report_(report),
        scene_("postgres-group", options.brokers, workload_,
               {.store = MakePostgresPlace(server_.connection(), "once"),
                .session_ms = kSessionMs,
                .poll_interval_ms = 2 * kSessionMs,
                .batch_messages_max = 200,
                .invocations_per_beat = 50,
                .bug = std::move(bug)}) {}

  void Run(std::int64_t rounds) {
    for (std::size_t slot = 0; slot < kProcesses; ++slot) Start(slot);
    for (std::int64_t round = 0; round < rounds && report_.violations.size() < kViolationsMax;
         ++round) {
      PlayRound();
    }
    Finish();
    const std::string killed =
        "SELECT sessions_killed FROM pg_stat_database WHERE datname = "
        "'postgres'";
    report_.extras["sessions_ended"] =
        std::stoll(postgres::testing::RunSql(server_.connection(), killed)[0][0]);
  }

 private:
  void Complain(const std::string& what) { report_.violations.push_back(label_ + ": " + what); }

  // A static member: who comes back takes the place of the one that died.
  void Start(std::size_t slot) {
    scene_.task().instance = absl::StrCat("process-", slot);
    children_[slot] = scene_.StartLife();
  }

  void Produce() {
    scene_.broker().Produce(MessagesOf(workload_, scene_.task().topic, next_, kMessagesPerAttack));
    scene_.ExpectMore(kMessagesPerAttack);
    next_ += kMessagesPerAttack;
  }

  void PlayRound() {
    const auto stopped = static_cast<std::size_t>(dice_.Below(kProcesses));
    const std::size_t other = (stopped + 1 + static_cast<std::size_t>(dice_.Below(2))) % kProcesses;
    Produce();
    // At work, mostly: a beat is so many invocations.
    children_[stopped]->WaitForBeats(1 + static_cast<int>(dice_.Below(8)), absl::Seconds(20));
    absl::SleepFor(absl::Microseconds(dice_.Below(20'000)));
    children_[stopped]->Send(SIGSTOP);
    ++report_.extras["stops"].get_ref<std::int64_t&>();
    const absl::Time goes_on = absl::Now() + kStopped;
    absl::SleepFor(absl::Milliseconds(dice_.Below(absl::ToInt64Milliseconds(kStopped))));
    Kill(other);
    absl::SleepFor(goes_on - absl::Now());
    children_[stopped]->Send(SIGCONT);
    Kill(static_cast<std::size_t>(dice_.Below(kProcesses)));
  }

  void Kill(std::size_t slot) {
    Produce();
    absl::SleepFor(absl::Microseconds(dice_.Below(500'000)));
    const int status = children_[slot]->End(SIGKILL);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
      Complain(absl::StrCat("a process ended with wait status ", status));
    }
    ++report_.extras["kills"].get_ref<std::int64_t&>();
    Start(slot);
  }

  void Finish() {
    if (scene_.Drain(*children_[0], absl::Minutes(2)) != LifeEnd::kDrained) {
      Complain("it does not settle everything and stop");
    }
    for (std::size_t slot = 1; slot < kProcesses; ++slot) {
      children_[slot]->Send(SIGTERM);
      if (children_[slot]->AwaitEnd(absl::Seconds(60)) != 0) Complain("a process does not stop");
    }
    scene_.Judge(report_, label_);
  }

  const std::string label_;
  const Workload workload_;
  Dice dice_;
  CampaignReport& report_;
  PrivateServer server_;
  Scene scene_;
  std::int64_t next_ = kMessagesAtFirst;
  std::array<std::unique_ptr<testing::Child>, kProcesses> children_;
};

CampaignReport NewReport() {
  CampaignReport report;
  report.extras = {{"stops", std::int64_t{0}}, {"kills", std::int64_t{0}}};
  return report;
}

CampaignReport Run(const CampaignOptions& options) {
  CampaignReport total;
  std::mutex mutex;
  const std::int64_t groups = (options.runs + kRoundsPerGroup - 1) / kRoundsPerGroup;
  constexpr std::size_t kWorkers = 2;
  ForEachInParallel(static_cast<std::size_t>(groups), kWorkers, [&](std::size_t i) {
    const std::int64_t first = static_cast<std::int64_t>(i) * kRoundsPerGroup;
    CampaignReport report = NewReport();
    AttackedGroup(options, i, "", report).Run(std::min(kRoundsPerGroup, options.runs - first));
    const std::lock_guard lock(mutex);
    Add(report, total);
    Say(absl::StrCat(total.extras["stops"].get<std::int64_t>(), " of ", options.runs, " stops, ",
                     total.extras["kills"].get<std::int64_t>(), " kills"));
  });
  // A stop may fall between two transactions; not all of them do.
  if (options.runs >= kRoundsPerGroup && total.extras["sessions_ended"] == 0) {
    total.violations.emplace_back("no session of a process that hung was ended");
  }
  CampaignReport wrong = NewReport();
  AttackedGroup(options, static_cast<std::uint64_t>(groups), kWrong, wrong).Run(0);
  NoteWrong(kWrong, wrong, total);
  return total;
}

}  // namespace

Campaign PostgresGroupCampaign() {
  return {.name = "postgres-group",
          .what = "three processes over one PostgreSQL: one hangs, two die, in each round",
          .runs = 100,
          .quick_runs = 1,
          .why_not = &WhyNoPostgres,
          .run = &Run,
          .child = &Consume};
}

}  // namespace once::campaign
