// Slots: whoever is killed is replaced in his.
#include "tests/campaign/outbox_server_kills.h"

#include <signal.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "adapters/postgres/tests/test_server.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/outbox_book.h"
#include "tests/campaign/outbox_kills.h"
#include "tests/campaign/outbox_places.h"
#include "tests/campaign/outbox_process.h"
#include "tests/campaign/outbox_verdict.h"
#include "tests/campaign/postgres_kind.h"
#include "tests/integration/child.h"
#include "tests/scratch_folder.h"

namespace once::campaign {
namespace {

constexpr std::size_t kProcesses = 3;
constexpr std::int32_t kPartitions = 6;
constexpr absl::Duration kPlacePatience = absl::Seconds(5);
constexpr absl::Duration kDrainPatience = absl::Minutes(10);
constexpr std::int64_t kHoldsOneIn = 4;
constexpr int kHoldMs = 5'000;
constexpr std::int64_t kServerDiesOneIn = 10;

class ServerKills {
 public:
  ServerKills(const CampaignOptions& options, std::int64_t kills, std::int64_t rows, bool is_wrong,
              CampaignReport& report)
      : kills_(kills),
        rows_(rows),
        label_(absl::StrCat("postgres (--seed ", options.seed, ")")),
        dice_(options.seed),
        report_(report),
        broker_(options.brokers),
        topic_(broker_.NewTopic(kPartitions)),
        places_("postgres"),
        deaths_(label_, kills, task_, report) {
    task_ = {.brokers = options.brokers,
             .topic = topic_,
             .book = "postgres",
             .store = MakePostgresPlace(server_.connection(), "once"),
             .answered = folder_.File("answered"),
             .log = folder_.File("log"),
             .is_wrong = is_wrong};
    MakePostgresBook(task_.store);
    std::ofstream(task_.answered).flush();
  }
  ~ServerKills() { DeleteTopics(broker_, topic_); }
  ServerKills(const ServerKills&) = delete;
  ServerKills& operator=(const ServerKills&) = delete;

  void Run() {
    for (std::size_t slot = 0; slot < kProcesses; ++slot) Start(slot);
    while (!deaths_.is_done()) {
      if (!KillOne(static_cast<std::size_t>(dice_.Below(kProcesses)))) return;
      if (dice_.OneIn(kServerDiesOneIn)) KillServer();
    }
    for (Slot& slot : slots_) slot.child.reset();
    JudgePlaces(places_, kills_, label_, report_);
    AddFigure(report_, "kills", deaths_.killed());
    AddFigure(report_, "server_kills", server_kills_);
    AddFigure(report_, "lives_with_held_transactions", held_);
    if (!Drain()) return;
    Say(label_ + ": judging");
    JudgeOutbox(task_, broker_, label_, report_);
  }

 private:
  struct Slot {
    std::unique_ptr<testing::Child> child;
    std::string place;  // where it is to die; empty: by the clock
  };

  // Of one process between two kills.
  std::int64_t rows_per_turn() const {
    return std::max<std::int64_t>(rows_ / ((kills_ + 1) * static_cast<std::int64_t>(kProcesses)),
                                  1);
  }

  void Start(std::size_t at) {
    constexpr std::int64_t kRounds[] = {20, 200, 1'000, 4'000};
    Slot& slot = slots_[at];
    task_.round_rows_max = kRounds[dice_.Below(4)];
    const bool holds = dice_.OneIn(kHoldsOneIn);
    task_.hold_ms = holds ? kHoldMs : 0;
    held_ += holds ? 1 : 0;
    // It lives for as many turns as there are processes, as a rule.
    task_.rows_max = 2 * static_cast<std::int64_t>(kProcesses) * rows_per_turn();
    slot.place = dice_.OneIn(3) ? places_.Draw(dice_, rows_per_turn(), task_) : "";
    testing::Environment environment;
    if (!slot.place.empty()) environment.emplace_back("ONCE_KILL_AT", slot.place);
    ++task_.life;
    task_.seed = dice_.Next();
    slot.child = std::make_unique<testing::Child>(
        std::vector<std::string>{"outbox-kill", Json(nlohmann::json(task_)).dump()}, environment);
  }

  // Kills it, or has it die where it was to, and starts another one.
  bool KillOne(std::size_t at) {
    Slot& slot = slots_[at];
    std::optional<int> ended;
    if (slot.place.empty()) {
      // What it has done while others were killed does not count.
      ended = slot.child->AwaitEnd(absl::Milliseconds(1));
      const std::int64_t beats = dice_.Below(2 * rows_per_turn() / kRowsPerBeat + 1);
      const std::int64_t most = 2 * static_cast<std::int64_t>(kProcesses) * rows_per_turn();
      const auto wanted = static_cast<int>(std::min(beats, most / kRowsPerBeat / 4));
      const absl::Time deadline = absl::Now() + absl::Seconds(10);
      for (int beat = 0; !ended && beat < wanted && absl::Now() < deadline; ++beat) {
        // It may have written all of its rows.
        if (!slot.child->WaitForBeats(1, absl::Seconds(1))) ended = slot.child->Ended();
      }
      absl::SleepFor(absl::Microseconds(dice_.Below(dice_.OneIn(4) ? 1'000'000 : 50'000)));
    } else {
      ended = slot.child->AwaitEnd(kPlacePatience);
    }
    const int status = ended ? *ended : slot.child->End(SIGKILL);
    if (!deaths_.NoteDeath(status)) return false;
    if (ended) places_.NoteDeath(slot.place);
    Start(at);
    return true;
  }

  void KillServer() {
    server_.Kill();
    absl::SleepFor(absl::Microseconds(dice_.Below(500'000)));
    server_.Start();
    ++server_kills_;
  }

  // What is left of the rows, and all that is not published yet, in peace.
  bool Drain() {
    const std::int64_t answered = CountAnswered(task_);
    Say(absl::StrCat(label_, ": ", std::max<std::int64_t>(rows_ - answered, 1),
                     " rows are left to write"));
    task_.drains = true;
    task_.hold_ms = 0;
    for (Slot& slot : slots_) {
      slot.place.clear();
      task_.rows_max =
          std::max<std::int64_t>((rows_ - answered) / static_cast<std::int64_t>(kProcesses), 1);
      ++task_.life;
      task_.seed = dice_.Next();
      slot.child = std::make_unique<testing::Child>(
          std::vector<std::string>{"outbox-kill", Json(nlohmann::json(task_)).dump()});
    }
    for (Slot& slot : slots_) {
      if (!deaths_.JudgeLastLife(slot.child->AwaitEnd(kDrainPatience))) return false;
    }
    return true;
  }

  const std::int64_t kills_;
  const std::int64_t rows_;
  const std::string label_;
  Dice dice_;
  CampaignReport& report_;
  const testing::ScratchFolder folder_;
  kafka::testing::TestBroker broker_;
  const std::string topic_;
  postgres::testing::PrivateServer server_;
  OutboxTask task_;
  OutboxPlaces places_;
  OutboxKills deaths_;
  std::array<Slot, kProcesses> slots_;
  std::int64_t server_kills_ = 0;
  std::int64_t held_ = 0;
};

}  // namespace

void KillOverPostgres(const CampaignOptions& options, std::int64_t kills, std::int64_t rows,
                      bool is_wrong, CampaignReport& report) {
  ServerKills(options, kills, rows, is_wrong, report).Run();
}

}  // namespace once::campaign
