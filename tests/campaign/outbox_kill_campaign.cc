// outbox-kill: kill -9 of a process whose threads commit transactions with messages in them, some
// rolled back on purpose, while a relay in it publishes what is committed to a real broker. An
// embedded store belongs to one process, so that all of it dies: a third of the deaths fall on
// named places of relay, transaction and store. Over PostgreSQL there are several such processes,
// which share the lanes (outbox_server_kills.h). At the end the topic is read by a raw client and
// compared with the books that every transaction has kept in tables of its own.
#include <signal.h>

#include <algorithm>
#include <stdexcept>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/outbox_book.h"
#include "tests/campaign/outbox_kills.h"
#include "tests/campaign/outbox_places.h"
#include "tests/campaign/outbox_process.h"
#include "tests/campaign/outbox_server_kills.h"
#include "tests/campaign/outbox_verdict.h"
#include "tests/campaign/postgres_kind.h"
#include "tests/campaign/small_scene.h"
#include "tests/campaign/workload.h"
#include "tests/integration/child.h"
#include "tests/scratch_folder.h"

namespace once::campaign {
namespace {

constexpr const char* kName = "outbox-kill";
constexpr std::int32_t kPartitions = 6;
constexpr absl::Duration kPatience = absl::Seconds(60);
// A life that was to die at a place it never comes to is killed after this.
constexpr absl::Duration kPlacePatience = absl::Seconds(5);
constexpr absl::Duration kDrainPatience = absl::Minutes(10);
// Every so manieth life a writer holds transactions open, longer than others wait for them.
constexpr std::int64_t kHoldsOneIn = 10;
constexpr int kHoldMs = 5'000;
constexpr int kBusyMs = 1'000;

class EmbeddedKills {
 public:
  EmbeddedKills(const CampaignOptions& options, const OutboxBook& book, std::int64_t kills,
                std::int64_t rows, bool is_wrong, CampaignReport& report)
      : kills_(kills),
        rows_(rows),
        label_(absl::StrCat(std::string(book.name()), " (--seed ", options.seed, ")")),
        dice_(options.seed),
        report_(report),
        broker_(options.brokers),
        topic_(broker_.NewTopic(kPartitions)),
        places_(book.name()),
        deaths_(label_, kills, task_, report) {
    task_ = {.brokers = options.brokers,
             .topic = topic_,
             .book = std::string(book.name()),
             .store = folder_.File("outbox.db"),
             .answered = folder_.File("answered"),
             .log = folder_.File("log"),
             .is_wrong = is_wrong};
  }
  ~EmbeddedKills() { DeleteTopics(broker_, topic_); }
  EmbeddedKills(const EmbeddedKills&) = delete;
  EmbeddedKills& operator=(const EmbeddedKills&) = delete;

  void Run() {
    while (!deaths_.is_done()) {
      if (!LiveAndDie()) return;
    }
    JudgePlaces(places_, kills_, label_, report_);
    AddFigure(report_, "kills", deaths_.killed());
    AddFigure(report_, "lives_with_held_transactions", held_);
    if (!Drain()) return;
    Say(label_ + ": judging");
    JudgeOutbox(task_, broker_, label_, report_);
  }

 private:
  std::int64_t rows_per_life() const { return std::max<std::int64_t>(rows_ / (kills_ + 1), 1); }

  std::unique_ptr<testing::Child> Start(const testing::Environment& environment) {
    ++task_.life;
    task_.seed = dice_.Next();
    return std::make_unique<testing::Child>(
        std::vector<std::string>{kName, Json(nlohmann::json(task_)).dump()}, environment);
  }

  bool LiveAndDie() {
    constexpr std::int64_t kRounds[] = {20, 200, 1'000, 4'000};
    task_.round_rows_max = kRounds[dice_.Below(4)];
    const bool holds = task_.life % kHoldsOneIn == 4;
    task_.hold_ms = holds ? kHoldMs : 0;
    task_.busy_ms = holds ? kBusyMs : 5'000;
    task_.rows_max = 3 * rows_per_life();
    const std::string place = dice_.OneIn(3) ? places_.Draw(dice_, rows_per_life(), task_) : "";
    testing::Environment environment;
    if (!place.empty()) environment.emplace_back("ONCE_KILL_AT", place);
    const auto child = Start(environment);
    std::optional<int> ended;
    if (place.empty()) {
      // By the clock, somewhere in the writing of its rows or soon after them.
      const std::int64_t beats = dice_.Below(2 * rows_per_life() / kRowsPerBeat + 1);
      if (!child->WaitForBeats(1 + static_cast<int>(beats), kPatience)) {
        ended = child->Ended();
        if (!ended) deaths_.Complain("nothing is committed any more");
      }
      absl::SleepFor(absl::Microseconds(dice_.Below(dice_.OneIn(4) ? 1'000'000 : 50'000)));
      if (holds) ++held_;
    } else {
      ended = child->AwaitEnd(kPlacePatience);
    }
    const int status = ended ? *ended : child->End(SIGKILL);
    if (!deaths_.NoteDeath(status)) return false;
    if (ended) places_.NoteDeath(place);
    return true;
  }

  // What is left of the rows, and all that is not published yet, in peace.
  bool Drain() {
    task_.rows_max = std::max<std::int64_t>(rows_ - CountAnswered(task_), 1);
    task_.drains = true;
    task_.hold_ms = 0;
    Say(absl::StrCat(label_, ": ", task_.rows_max, " rows are left to write"));
    const auto child = Start({});
    const std::optional<int> ended = child->AwaitEnd(kDrainPatience);
    if (!ended) child->End(SIGKILL);
    return deaths_.JudgeLastLife(ended);
  }

  const std::int64_t kills_;
  const std::int64_t rows_;
  const std::string label_;
  Dice dice_;
  CampaignReport& report_;
  const testing::ScratchFolder folder_;
  kafka::testing::TestBroker broker_;
  const std::string topic_;
  OutboxTask task_;
  OutboxPlaces places_;
  OutboxKills deaths_;
  std::int64_t held_ = 0;
};

void Attack(const std::string& store, const CampaignOptions& options, std::int64_t kills,
            std::int64_t rows, bool is_wrong, CampaignReport& report) {
  if (store == PostgresOutboxBook().name()) {
    KillOverPostgres(options, kills, rows, is_wrong, report);
  } else {
    EmbeddedKills(options, OutboxBookOf(store), kills, rows, is_wrong, report).Run();
  }
}

// Those that can be attacked here, of those that are meant.
std::vector<std::string> FindStores(const CampaignOptions& options) {
  std::vector<std::string> stores;
  for (const std::string_view store : {"sqlite", "rocksdb", "postgres"}) {
    if (store.find(options.only) == store.npos) continue;
    const std::string why_not = store == PostgresOutboxBook().name() ? WhyNoPostgres() : "";
    if (why_not.empty()) {
      stores.emplace_back(store);
    } else if (IsContinuousIntegration()) {
      throw std::runtime_error(why_not);
    } else {
      Say("without PostgreSQL: " + why_not);
    }
  }
  return stores;
}

CampaignReport Run(const CampaignOptions& options) {
  CampaignReport report;
  const std::vector<std::string> stores = FindStores(options);
  std::int64_t runs = options.runs;
  std::int64_t rows = options.size;
  for (std::size_t i = 0; i < stores.size(); ++i) {
    const auto left = static_cast<std::int64_t>(stores.size() - i);
    const std::int64_t kills = (runs + left - 1) / left;
    if (kills > 0) {
      Attack(stores[i], options, kills, rows / left, /*is_wrong=*/false, report);
    }
    runs -= kills;
    rows -= rows / left;
  }
  if (!stores.empty()) {
    CampaignReport wrong;
    constexpr std::int64_t kRowsOfTheWrong = 1'000;
    Attack(stores[0], options, 1, kRowsOfTheWrong, /*is_wrong=*/true, wrong);
    NoteWrong("a client that forgets records", wrong, report);
  }
  if (stores.empty()) report.violations.push_back("there is no store " + options.only);
  return report;
}

}  // namespace

Campaign OutboxKillCampaign() {
  return {.name = kName,
          .what =
              "kill -9 of processes that commit messages and relay them: SQLite, RocksDB, "
              "PostgreSQL",
          .runs = 45,
          .quick_runs = 6,
          .takes_only = true,
          .size_flag = "--rows",
          .size = 150'000,
          .quick_size = 6'000,
          .run = &Run,
          .child = &PublishUntilKilled};
}

}  // namespace once::campaign
