// kill-points: at every place where the program may be made to die, several times, with every store
// and handler that passes it, the process dies, starts again, and must settle everything. A place
// that nobody passes with a store and handler that should is a failure of the campaign: there would
// be no evidence about it.
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/tests/test_server.h"
#include "src/test_hooks.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/forgetful_calls.h"
#include "tests/campaign/parallel.h"
#include "tests/campaign/postgres_kind.h"
#include "tests/campaign/redrive.h"
#include "tests/campaign/scene.h"
#include "tests/campaign/small_scene.h"
#include "tests/campaign/wrap_calls.h"

namespace once::campaign {
namespace {

using postgres::testing::PrivateServer;

// What a process does while it dies.
enum class Arena {
  kTransactional,
  kPlain,
  kPlainInMemory,
  kOnPostgres,
  kPlainOnPostgres,
  kForgetful,
  kRedrive,
  kWrapped,
  kWrappedPlain
};

const char* NameOf(Arena arena) {
  switch (arena) {
    case Arena::kTransactional:
      return "transactional";
    case Arena::kPlain:
      return "plain";
    case Arena::kPlainInMemory:
      return "plain-in-memory";
    case Arena::kOnPostgres:
      return "transactional-on-postgres";
    case Arena::kPlainOnPostgres:
      return "plain-on-postgres";
    case Arena::kForgetful:
      return "forgetful-on-postgres";
    case Arena::kRedrive:
      return "redrive";
    case Arena::kWrapped:
      return "wrapped";
    case Arena::kWrappedPlain:
      return "wrapped-plain";
  }
  return "";
}

// Where a point may be passed. A transactional handler over a store that forgets everything with
// its process has nothing left to judge.
std::vector<Arena> ArenasOf(std::string_view point) {
  const auto begins = [&](std::string_view prefix) { return point.starts_with(prefix); };
  const auto ends = [&](std::string_view suffix) { return point.ends_with(suffix); };
  // rocksdb-kill, outbox-kill, broker-down and loss-detector pass these; those of lanes and of
  // shared spools the tests of the adapters for PostgreSQL and Redis.
  for (const std::string_view prefix :
       {"rocksdb.", "outbox_relay.", "transact.", "spool.", "losses.", "lanes.", "redis_spool."}) {
    if (begins(prefix)) return {};
  }
  if (begins("wrap.")) return {Arena::kWrapped};
  if (begins("wrapclaim.")) return {Arena::kWrappedPlain};
  if (begins("redrive.")) return {Arena::kRedrive};
  if (begins("claim.")) return {Arena::kPlain, Arena::kPlainInMemory};
  if (begins("hint.") || begins("revoke.") || begins("stop.")) {
    return {Arena::kTransactional, Arena::kPlain};
  }
  // The store's own sync, apart from any commit.
  if (point == "sqlite.before_sync" || point == "sqlite.synced") {
    return {Arena::kTransactional, Arena::kPlain, Arena::kWrappedPlain};
  }
  if (point == "sqlite.before_commit" || point == "sqlite.committed") {
    return {Arena::kTransactional, Arena::kRedrive, Arena::kWrapped};
  }
  // Ids become a run once enough of them have gathered, which a few calls never bring about.
  if (begins("sqlite.") && (ends("_manifest") || ends("manifest_written") || ends("_dropped") ||
                            ends("pages_written"))) {
    return {Arena::kTransactional, Arena::kPlain};
  }
  if (point == "postgres.before_claims" || point == "postgres.claims_recorded" ||
      point == "postgres.before_sync" || point == "postgres.synced") {
    return {Arena::kPlainOnPostgres};
  }
  if (point == "postgres.opened" || point == "postgres.schema_created") {
    return {Arena::kOnPostgres, Arena::kPlainOnPostgres};
  }
  // Its log goes on fast enough to close buckets.
  if (begins("postgres.") && point.find("bucket_") != point.npos) return {Arena::kForgetful};
  if (begins("postgres.")) return {Arena::kOnPostgres};
  if (begins("sqlite.") && (ends("_unsynced_commit") || ends("_unsynced") || ends("_skipped"))) {
    return {Arena::kTransactional, Arena::kPlain, Arena::kWrapped};
  }
  if (begins("sqlite.")) {
    return {Arena::kTransactional, Arena::kPlain, Arena::kRedrive, Arena::kWrapped};
  }
  return {Arena::kTransactional};
}

struct Attack {
  std::string point;
  int hit = 1;  // the how-manieth passing is the last
  Arena arena = Arena::kTransactional;
  int stops_at = 0;  // the process asks itself to stop at this invocation; 0: never

  std::string label() const {
    return absl::StrCat(point, ":", hit, " ", NameOf(arena),
                        stops_at == 0 ? "" : absl::StrCat(", stopped at ", stops_at));
  }
  testing::Environment environment() const {
    return {{"ONCE_KILL_AT", absl::StrCat(point, ":", hit)}};
  }
};

// Only a stop in the middle of a batch has something to record there.
bool NeedsStop(std::string_view point) {
  return point.starts_with("revoke.") || point == "rows.before_write" || point == "rows.written";
}

bool IsOncePerLife(std::string_view point) {
  return point.starts_with("stop.") || point == "postgres.opened" ||
         point == "postgres.schema_created";
}

bool IsOnPostgres(Arena arena) {
  return arena == Arena::kOnPostgres || arena == Arena::kPlainOnPostgres ||
         arena == Arena::kForgetful;
}

std::vector<Attack> PlanAll() {
  std::vector<Attack> attacks;
  for (const std::string& point : test_hooks::KillPoints()) {
    for (const Arena arena : ArenasOf(point)) {
      if (NeedsStop(point)) {
        // One of these may be the last of its batch.
        for (const int stops_at : {33, 45, 58}) {
          attacks.push_back({.point = point, .arena = arena, .stops_at = stops_at});
        }
        continue;
      }
      for (const int hit : {1, 2, 7}) {
        if (IsOncePerLife(point) && hit > 1) continue;
        attacks.push_back({.point = point, .hit = hit, .arena = arena});
      }
    }
  }
  return attacks;
}

bool WasKilled(const std::optional<int>& ended) {
  return ended && WIFSIGNALED(*ended) && WTERMSIG(*ended) == SIGKILL;
}

// What one attack found out, beside what went into its report.
struct Outcome {
  bool has_died = false;
  CampaignReport report;
};

// `server`: null where no attack needs one.
void AttackConsumer(const Attack& attack, const CampaignOptions& options,
                    const PrivateServer* server, Outcome& outcome) {
  const bool is_plain = attack.arena != Arena::kTransactional && attack.arena != Arena::kOnPostgres;
  std::string store = attack.arena == Arena::kPlainInMemory ? "memory" : "";
  if (IsOnPostgres(attack.arena)) {
    store = MakePostgresPlace(server->connection(), postgres::testing::NewSchemaName());
  }
  const auto scene = MakeSmallScene("kill-points", options, is_plain, store);
  scene->task().stops_at = attack.stops_at;
  scene->task().empties_outbox = attack.stops_at == 0;
  if (attack.point == "marks.attempt_recorded") {
    // After an unclean end only.
    const auto life = scene->StartLife({{"ONCE_KILL_AT", "transaction.handled:30"}});
    if (!WasKilled(life->AwaitEnd(absl::Seconds(60)))) return;
  }
  LifeEnd end = LifeEnd::kFailed;
  {
    const auto life = scene->StartLife(attack.environment());
    end = scene->Drain(*life, kSettlePatience);
  }
  outcome.has_died = end == LifeEnd::kKilled;
  const bool has_failed = end == LifeEnd::kStuck || end == LifeEnd::kFailed;
  scene->task().stops_at = 0;
  scene->task().empties_outbox = true;
  if (has_failed || scene->DrainOnce() != LifeEnd::kDrained) {
    outcome.report.violations.push_back(
        absl::StrCat(attack.label(), ": it does not settle everything: ", scene->trouble()));
  }
  scene->Judge(outcome.report, attack.label());
}

void AttackRedrive(const Attack& attack, const CampaignOptions& options, Outcome& outcome) {
  const auto scene = MakeSmallScene("kill-points", options, /*is_plain=*/false);
  if (scene->DrainOnce() != LifeEnd::kDrained) throw std::runtime_error("nothing to redrive");
  const Judgement before = scene->JudgeQuietly();
  const Json task = {{"duty", "redrive"}, {"store", scene->task().store}};
  const std::vector<std::string> arguments = {"kill-points", task.dump()};
  testing::Child killed(arguments, attack.environment());
  outcome.has_died = WasKilled(killed.AwaitEnd(absl::Seconds(60)));
  testing::Child redriving(arguments);
  const std::optional<int> ended = redriving.AwaitEnd(absl::Seconds(60));
  scene->ExpectMore(before.buried);
  scene->task().takes_all = true;
  if (ended != 0 || scene->DrainOnce() != LifeEnd::kDrained) {
    outcome.report.violations.push_back(
        absl::StrCat(attack.label(), ": the redrive does not settle: ", scene->trouble()));
  }
  scene->Judge(outcome.report, attack.label());
}

void AttackForgetful(const Attack& attack, const PrivateServer& server, Outcome& outcome) {
  const Json task = {
      {"duty", "forget"},
      {"store", MakePostgresPlace(server.connection(), postgres::testing::NewSchemaName())}};
  for (const bool is_armed : {true, false}) {
    testing::Child child({"kill-points", task.dump()},
                         is_armed ? attack.environment() : testing::Environment());
    const std::optional<int> ended = child.AwaitEnd(absl::Seconds(60));
    if (is_armed) outcome.has_died = WasKilled(ended);
    if (!is_armed && ended != 0) {
      outcome.report.violations.push_back(attack.label() + ": it does not settle, or not forget");
    }
  }
  for (const std::string& wrong : JudgeForgetful(task["store"])) {
    outcome.report.violations.push_back(absl::StrCat(attack.label(), ": ", wrong));
  }
}

void AttackCalls(const Attack& attack, Outcome& outcome) {
  const testing::ScratchFolder folder;
  const bool is_plain = attack.arena == Arena::kWrappedPlain;
  Json task = {{"duty", "wrap"},
               {"store", folder.File("calls.db")},
               {"effects", folder.File("effects")},
               {"is_plain", is_plain}};
  std::vector<std::string> histories;
  for (const bool is_armed : {true, false}) {
    histories.push_back(folder.File(absl::StrCat("history-", histories.size())));
    task["history"] = histories.back();
    testing::Child child({"kill-points", task.dump()},
                         is_armed ? attack.environment() : testing::Environment());
    const std::optional<int> ended = child.AwaitEnd(absl::Seconds(60));
    if (is_armed) {
      outcome.has_died = WasKilled(ended);
    } else if (ended != 0) {
      outcome.report.violations.push_back(attack.label() + ": the calls do not settle");
    }
  }
  const Truth truth = ReadWrapTruth(task["store"], task["effects"], is_plain);
  AddJudgement(truth, histories, attack.label(), outcome.report);
}

void Run(const Attack& attack, const CampaignOptions& options, const PrivateServer* server,
         Outcome& outcome) {
  switch (attack.arena) {
    case Arena::kTransactional:
    case Arena::kPlain:
    case Arena::kPlainInMemory:
    case Arena::kOnPostgres:
    case Arena::kPlainOnPostgres:
      return AttackConsumer(attack, options, server, outcome);
    case Arena::kForgetful:
      return AttackForgetful(attack, *server, outcome);
    case Arena::kRedrive:
      return AttackRedrive(attack, options, outcome);
    case Arena::kWrapped:
    case Arena::kWrappedPlain:
      return AttackCalls(attack, outcome);
  }
}

// Null: none of them needs it. Without a server's programs those that do are left out, except where
// nothing may be.
std::unique_ptr<PrivateServer> StartServerFor(std::vector<Attack>& attacks) {
  const auto needs_one = [](const Attack& attack) { return IsOnPostgres(attack.arena); };
  if (std::none_of(attacks.begin(), attacks.end(), needs_one)) return nullptr;
  const std::string why_not = WhyNoPostgres();
  if (why_not.empty()) return std::make_unique<PrivateServer>();
  if (IsContinuousIntegration()) throw std::runtime_error(why_not);
  Say("without the kill points of PostgreSQL: " + why_not);
  std::erase_if(attacks, needs_one);
  return nullptr;
}

// The attacks to run, and whether they are all there are.
struct Plan {
  std::vector<Attack> attacks;
  bool is_whole = false;
};

Plan MakePlan(const CampaignOptions& options) {
  Plan plan{.attacks = PlanAll()};
  std::vector<Attack>& attacks = plan.attacks;
  const auto runs = static_cast<std::size_t>(options.runs);
  if (!options.only.empty()) {
    std::erase_if(attacks, [&](const Attack& attack) {
      return attack.label().find(options.only) == std::string::npos;
    });
    if (attacks.empty()) throw std::runtime_error("no attack has a name with " + options.only);
    const std::size_t kinds = attacks.size();
    while (attacks.size() < runs) attacks.push_back(attacks[attacks.size() % kinds]);
    attacks.resize(runs);
    return plan;
  }
  plan.is_whole = runs >= attacks.size();
  // Fewer: those that the seed draws.
  std::sort(attacks.begin(), attacks.end(), [&](const Attack& a, const Attack& b) {
    const auto rank = [&](const Attack& attack) {
      return Draw(options.seed, std::hash<std::string>()(attack.label()));
    };
    return !plan.is_whole && rank(a) < rank(b);
  });
  attacks.resize(std::min(attacks.size(), runs));
  return plan;
}

CampaignReport RunAll(const CampaignOptions& options) {
  // No structured binding: clang 14 does not capture one.
  Plan plan = MakePlan(options);
  std::vector<Attack>& attacks = plan.attacks;
  std::set<std::string> points;
  for (const Attack& attack : attacks) points.insert(attack.point);
  const auto server = StartServerFor(attacks);
  CampaignReport total;
  std::map<std::pair<std::string, Arena>, int> deaths;
  std::mutex mutex;
  constexpr std::size_t kWorkers = 3;
  std::size_t done = 0;
  ForEachInParallel(attacks.size(), kWorkers, [&](std::size_t i) {
    Outcome outcome;
    Run(attacks[i], options, server.get(), outcome);
    const std::lock_guard lock(mutex);
    deaths[{attacks[i].point, attacks[i].arena}] += outcome.has_died ? 1 : 0;
    Add(outcome.report, total);
    Say(absl::StrCat(++done, " of ", attacks.size(), ": ", attacks[i].label(), ": ",
                     outcome.has_died ? "died" : "not reached",
                     outcome.report.violations.empty() ? "" : ", VIOLATED"));
  });
  std::set<std::string> hit;
  std::int64_t died = 0;
  for (const auto& [place, count] : deaths) {
    const auto& [point, arena] = place;
    if (count > 0) hit.insert(point);
    died += count;
    if (plan.is_whole && count == 0) {
      total.violations.push_back(
          absl::StrCat(point, ", ", NameOf(arena), ": no process died there"));
    }
  }
  total.extras["runs"] = attacks.size();
  total.extras["points"] = points.size();
  total.extras["points_hit"] = hit.size();
  total.extras["places"] = deaths.size();
  total.extras["deaths"] = died;
  return total;
}

int DoDuty(const Json& task) {
  const std::string duty = task.value("duty", "");
  if (duty == "wrap") return CallWrapped(task);
  if (duty == "forget") return SettleForgetfully(task);
  return duty == "redrive" ? RedriveAll(task) : Consume(task);
}

}  // namespace

Campaign KillPointsCampaign() {
  return {.name = "kill-points",
          .what = "dying at every kill point, with every store and handler that passes it",
          .runs = 1'000,  // more than there are: all
          .quick_runs = 8,
          .takes_only = true,
          .run = &RunAll,
          .child = &DoDuty};
}

}  // namespace once::campaign
