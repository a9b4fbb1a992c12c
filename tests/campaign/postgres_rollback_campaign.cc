// postgres-rollback: the data of a PostgreSQL server are put back to an earlier moment while it is
// in use, as whoever restores a backup does. Half of the runs: under a group with transactional
// handlers, which must replay what is gone, and leave one effect of each message; half:
// under claims and transactions without positions, where nobody can replay and the store must say
// so, by its next Sync() and by its guarantee. Then the same with what is wrong in either, which
// must be found out.
#include <signal.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/postgres/tests/test_server.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/history.h"
#include "tests/campaign/parallel.h"
#include "tests/campaign/postgres_attack.h"
#include "tests/campaign/postgres_kind.h"
#include "tests/campaign/scene.h"
#include "tests/campaign/small_scene.h"

namespace once::campaign {
namespace {

using postgres::testing::PrivateServer;

constexpr std::int64_t kMessagesAtFirst = 3'000;
constexpr std::int64_t kMessagesLater = 1'500;
// What is wrong must be noticed within so many runs.
constexpr std::uint64_t kRunsUntilFound = 8;
// Consumers that begin where the broker says, not where the store does.
constexpr const char* kWrongEngine = "broker-is-authority";

void Count(CampaignReport& report, const char* name, std::int64_t number) {
  report.extras[name] = report.extras.value(name, std::int64_t{0}) + number;
}

// A process of three members, alone in its group.
class RolledBackGroup {
 public:
  RolledBackGroup(const CampaignOptions& options, std::uint64_t run, std::string bug,
                  CampaignReport& report)
      : label_(absl::StrCat("group, run ", run)),
        workload_{.seed = Draw(options.seed, run) % 1'000'000,
                  .messages = kMessagesAtFirst,
                  .partitions = 6,
                  .odd_one_in = 200},
        dice_(workload_.seed),
        report_(report),
        scene_("postgres-rollback", options.brokers, workload_,
               {.store = MakePostgresPlace(server_.connection(), "once"),
                .members = 3,
                .hint_ms = 20,
                .batch_messages_max = 200,
                .invocations_per_beat = 50,
                .bug = std::move(bug)}) {}

  void Run() {
    const auto child = scene_.StartLife();
    Work(*child);
    const std::int64_t kept = CountEffects();
    server_.KeepCopy();
    Produce(kMessagesAtFirst);
    AwaitEffects(kept + 1 + dice_.Below(kMessagesLater / 2));
    const std::int64_t before = CountEffects();
    server_.ReturnToCopy();
    scene_.NoteRollback();
    // Some rollbacks are met by new messages, others by the idle audit or at the end.
    Produce(kMessagesAtFirst + kMessagesLater);
    if (scene_.Drain(*child, absl::Minutes(2)) != LifeEnd::kDrained) {
      report_.violations.push_back(label_ + ": it does not settle everything and stop");
    }
    scene_.Judge(report_, label_);
    Count(report_, "effects_undone", std::max<std::int64_t>(0, before - kept));
    Count(report_, "groups", 1);
    const std::int64_t noticed = CountNoticed();
    Count(report_, "rollbacks_noticed", std::min<std::int64_t>(noticed, 1));
  }

 private:
  void Produce(std::int64_t first) {
    scene_.broker().Produce(MessagesOf(workload_, scene_.task().topic, first, kMessagesLater));
    scene_.ExpectMore(kMessagesLater);
  }
  void Work(testing::Child& child) {
    if (!child.WaitForBeats(1 + static_cast<int>(dice_.Below(25)), absl::Seconds(20))) {
      throw std::runtime_error("nothing is handled");
    }
    absl::SleepFor(absl::Microseconds(dice_.Below(50'000)));
  }
  void AwaitEffects(std::int64_t count) const {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (CountEffects() < count) {
      if (absl::Now() > deadline) throw std::runtime_error("nothing is handled any more");
      absl::SleepFor(absl::Milliseconds(2));
    }
  }
  std::int64_t CountEffects() const {
    return std::stoll(postgres::testing::RunSql(server_.connection(),
                                                "SELECT count(*) FROM once_effects.booked")[0][0]);
  }
  std::int64_t CountNoticed() const {
    std::int64_t noticed = 0;
    ReadHistory(scene_.histories(), [&](const HistoryEvent& event) {
      if (event.call == "stats") noticed += event.details.value("rolled_back", std::int64_t{0});
    });
    return noticed;
  }

  const std::string label_;
  const Workload workload_;
  Dice dice_;
  CampaignReport& report_;
  PrivateServer server_;
  Scene scene_;
};

// Claims and transactions of one opening. What is wrong; empty: nothing.
class RolledBackStore {
 public:
  RolledBackStore(std::uint64_t seed, PostgresFault fault) : dice_(seed), fault_(fault) {}

  std::string Run(CampaignReport& report) {
    auto opened = OpenPostgresPlace(MakePostgresPlace(server_.connection(), "once"));
    if (!opened.ok()) return opened.status().ToString();
    store_ = Spoil(fault_, *std::move(opened));
    const std::int64_t kept = 1 + dice_.Below(20);
    const std::int64_t all = kept + 1 + dice_.Below(20);
    const bool has_claims = dice_.OneIn(2);
    if (const absl::Status done = Complete(0, kept, has_claims); !done.ok()) return done.ToString();
    server_.KeepCopy();
    if (absl::Status done = Complete(kept, all, has_claims); !done.ok()) return done.ToString();
    server_.ReturnToCopy();
    Count(report, has_claims ? "claims_undone" : "transactions_undone", all - kept);
    Count(report, "stores", 1);
    for (std::int64_t id = 0; id < all; ++id) {
      const absl::StatusOr<IdState> state = Find(id);
      if (!state.ok()) return state.status().ToString();
      if ((*state == IdState::kCompleted) != (id < kept)) {
        return absl::StrCat("id ", id, " of ", kept, " has state ", static_cast<int>(*state));
      }
    }
    // Not before it has met the server again: a sync of what is synced asks nobody.
    const absl::Status first = store_->claims()->Sync();
    if (has_claims && !absl::IsUnavailable(first)) {
      return absl::StrCat(all - kept, " synced claims are gone, and the store says ",
                          first.ToString());
    }
    if (store_->traits().durability == Durability::kMachine) {
      return absl::StrCat(all - kept, " commits are gone, and the guarantee is as it was");
    }
    const absl::Status second = store_->claims()->Sync();
    return second.ok() ? "" : "the second sync: " + second.ToString();
  }

 private:
  absl::StatusOr<IdState> Find(std::int64_t number) {
    const std::string id = absl::StrCat(number);
    auto begun = store_->transactions()->Begin({});
    if (!begun.ok()) return begun.status();
    const IdKey key{"scope", id};
    IdRecord record;
    const absl::Status found = begun->transaction->FindIds({&key, 1}, {&record, 1});
    if (!found.ok()) return found;
    return record.state;
  }

  // The connections are lost over KeepCopy(): the first call may say so.
  absl::Status Complete(std::int64_t first, std::int64_t end, bool has_claims) {
    for (std::int64_t number = first; number < end; ++number) {
      const std::string id = absl::StrCat(number);
      absl::Status done = has_claims ? CompleteClaim(id) : CompleteInTransaction(id);
      if (!done.ok()) return done;
    }
    return has_claims ? store_->claims()->Sync() : absl::OkStatus();
  }

  absl::Status CompleteInTransaction(const std::string& id) {
    auto begun = store_->transactions()->Begin({});
    if (!begun.ok()) return begun.status();
    const IdWrite write{.key = {"scope", id}, .record = {.state = IdState::kCompleted}};
    if (absl::Status put = begun->transaction->PutIds({&write, 1}); !put.ok()) return put;
    return begun->transaction->Commit(Durability::kMachine);
  }

  absl::Status CompleteClaim(const std::string& id) {
    ClaimStore& claims = *store_->claims();
    const ClaimRequest request{
        .key = {"scope", id}, .fingerprint = {1, 2}, .fence = claims.NewFence()};
    ClaimResult result;
    absl::Status said = claims.TryClaim({&request, 1}, absl::Hours(1), {&result, 1});
    if (!said.ok()) return said;
    const CompletedClaim completed{.claim = {.key = request.key, .fence = request.fence}};
    absl::Status outcome;
    said = claims.Complete({&completed, 1}, {&outcome, 1});
    return said.ok() ? outcome : said;
  }

  Dice dice_;
  const PostgresFault fault_;
  PrivateServer server_;
  std::shared_ptr<DedupStore> store_;
};

void RunOne(const CampaignOptions& options, std::uint64_t run, CampaignReport& report) {
  if (run % 2 == 0) return RolledBackGroup(options, run, "", report).Run();
  const std::string wrong =
      RolledBackStore(Draw(options.seed, run), PostgresFault::kNone).Run(report);
  if (!wrong.empty()) report.violations.push_back(absl::StrCat("store, run ", run, ": ", wrong));
}

CampaignReport Run(const CampaignOptions& options) {
  CampaignReport total;
  std::mutex mutex;
  constexpr std::size_t kWorkers = 2;
  std::int64_t done = 0;
  ForEachInParallel(static_cast<std::size_t>(options.runs), kWorkers, [&](std::size_t i) {
    CampaignReport report;
    RunOne(options, i, report);
    const std::lock_guard lock(mutex);
    Add(report, total);
    if (++done % 10 == 0) Say(absl::StrCat(done, " of ", options.runs, " rollbacks"));
  });
  CampaignReport wrong_group;
  for (std::uint64_t run = 0; wrong_group.violations.empty() && run < kRunsUntilFound; ++run) {
    RolledBackGroup(options, run, kWrongEngine, wrong_group).Run();
  }
  NoteWrong(kWrongEngine, wrong_group, total);
  CampaignReport wrong_store;
  for (std::uint64_t seed = 1; wrong_store.violations.empty() && seed <= kRunsUntilFound; ++seed) {
    const std::string wrong = RolledBackStore(seed, PostgresFault::kForgetful).Run(wrong_store);
    if (!wrong.empty()) wrong_store.violations.push_back(wrong);
  }
  NoteWrong("a sync that forgets", wrong_store, total);
  return total;
}

}  // namespace

Campaign PostgresRollbackCampaign() {
  return {.name = "postgres-rollback",
          .what = "a PostgreSQL server is put back to an earlier moment under its users",
          .runs = 100,
          .quick_runs = 2,
          .why_not = &WhyNoPostgres,
          .run = &Run,
          .child = &Consume};
}

}  // namespace once::campaign
