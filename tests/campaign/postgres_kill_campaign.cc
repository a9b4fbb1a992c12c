// postgres-kill: all processes of a PostgreSQL server are killed with SIGKILL while steps are
// written to a store on it, over and over; each time it must hold all that was promised to survive
// a crash of the server, and nothing by half, and say so when claims are gone that were not synced.
// Then the same with a store that is wrong, which must be found out.
#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/postgres/tests/test_server.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/parallel.h"
#include "tests/campaign/postgres_attack.h"
#include "tests/campaign/small_scene.h"

namespace once::campaign {
namespace {

using postgres::testing::PrivateServer;

constexpr std::int64_t kKillsPerStore = 25;
constexpr std::int64_t kStepsMax = 100'000;
constexpr std::size_t kViolationsMax = 5;
// A wrong store must be noticed within so many kills.
constexpr std::int64_t kKillsUntilFound = 20;

// Kills the server at a moment that the dice choose, counted from when the writer is at work.
void KillSoon(PrivateServer& server, const AttackedStore& store, std::int64_t steps,
              absl::Duration pause) {
  while (store.answered() < steps) absl::SleepFor(absl::Microseconds(50));
  absl::SleepFor(pause);
  server.Kill();
}

// One server, killed over and over, and stores on it one after the other.
class KilledServer {
 public:
  KilledServer(std::uint64_t seed, const PrivateServer& peers, PostgresFault fault,
               CampaignReport& report)
      : dice_(seed),
        label_(absl::StrCat("seed ", seed)),
        peers_(peers),
        fault_(fault),
        report_(report) {}

  void Run(std::int64_t kills) {
    for (std::int64_t kill = 0; kill < kills && report_.violations.size() < kViolationsMax;
         ++kill) {
      if (kill % kKillsPerStore == 0 || store_ == nullptr) OpenAnew();
      const std::string wrong = KillOnce();
      Json& kills_done = report_.extras["kills"];
      kills_done = kill + 1;
      if (wrong.empty()) continue;
      report_.lost += store_->lost();
      report_.duplicate_effects += store_->surplus();
      report_.violations.push_back(absl::StrCat(label_, ", kill ", kill, ": ", wrong));
      Retire();
    }
    Retire();
  }

 private:
  void OpenAnew() {
    Retire();
    const std::string schema = postgres::testing::NewSchemaName();
    store_ = std::make_unique<AttackedStore>(MakePostgresPlace(server_.connection(), schema),
                                             MakePostgresPlace(peers_.connection(), schema),
                                             dice_.Next(), fault_);
    if (const absl::Status opened = store_->Open(); !opened.ok()) {
      throw std::runtime_error(opened.ToString());
    }
  }

  std::string KillOnce() {
    constexpr std::int64_t kPauses[] = {1, 1'000, 10'000, 50'000};
    const std::int64_t steps = dice_.Below(24);
    const absl::Duration pause = absl::Microseconds(dice_.Below(kPauses[dice_.Below(4)]));
    bool has_failed = false;
    {
      const std::jthread killer([&] { KillSoon(server_, *store_, steps, pause); });
      has_failed = store_->WriteUntilFailure(kStepsMax);
    }
    server_.Start();
    return has_failed ? store_->Check(/*may_lose=*/true, StepInFlight::kEither)
                      : "steps go on without a server";
  }

  void Retire() {
    if (store_ == nullptr) return;
    report_.messages += store_->steps();
    const auto add = [&](const char* name, std::int64_t number) {
      report_.extras[name] = report_.extras.value(name, std::int64_t{0}) + number;
    };
    add("steps_undone", store_->steps_undone());
    add("losses_told", store_->losses_told());
    add("in_flight_applied", store_->in_flight_applied());
    store_ = nullptr;
  }

  Dice dice_;
  const std::string label_;
  const PrivateServer& peers_;
  const PostgresFault fault_;
  CampaignReport& report_;
  PrivateServer server_;
  std::unique_ptr<AttackedStore> store_;
};

CampaignReport Run(const CampaignOptions& options) {
  CampaignReport total;
  std::mutex mutex;
  // Of the peers nobody asks that they survive anything.
  const PrivateServer peers("fsync = off\nsynchronous_commit = off");
  constexpr std::int64_t kKillsPerServer = 100;
  const std::int64_t servers = (options.runs + kKillsPerServer - 1) / kKillsPerServer;
  constexpr std::size_t kWorkers = 3;
  std::int64_t kills = 0;
  ForEachInParallel(static_cast<std::size_t>(servers), kWorkers, [&](std::size_t i) {
    const std::int64_t first = static_cast<std::int64_t>(i) * kKillsPerServer;
    CampaignReport report;
    KilledServer(Draw(options.seed, i), peers, PostgresFault::kNone, report)
        .Run(std::min(kKillsPerServer, options.runs - first));
    const std::lock_guard lock(mutex);
    Add(report, total);
    kills = total.extras.value("kills", std::int64_t{0});
    Say(absl::StrCat(kills, " of ", options.runs, " kills"));
  });
  for (const PostgresFault fault : {PostgresFault::kUnsynced, PostgresFault::kForgetful}) {
    CampaignReport wrong;
    KilledServer(options.seed, peers, fault, wrong).Run(kKillsUntilFound);
    NoteWrong(fault == PostgresFault::kUnsynced ? "commits without a sync" : "a sync that forgets",
              wrong, total);
  }
  return total;
}

}  // namespace

Campaign PostgresKillCampaign() {
  return {.name = "postgres-kill",
          .what = "kill -9 of a PostgreSQL server under a writer",
          .runs = 2'000,
          .quick_runs = 6,
          .needs_broker = false,
          .why_not = &WhyNoPostgres,
          .run = &Run};
}

}  // namespace once::campaign
