// postgres-cut: connections to a PostgreSQL server are cut at a COMMIT: before the server has heard
// it, before its answer is heard, and by the server itself. What was in flight must be there in the
// second case and in no other, and the store must never have said more than it can know. Then the
// same with a store that is wrong, which must be found out.
#include <algorithm>
#include <iterator>
#include <memory>
#include <mutex>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/tests/test_server.h"
#include "adapters/postgres/tests/wire_proxy.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/parallel.h"
#include "tests/campaign/postgres_attack.h"
#include "tests/campaign/small_scene.h"

namespace once::campaign {
namespace {

using postgres::testing::Cut;
using postgres::testing::PrivateServer;
using postgres::testing::WireProxy;

constexpr std::int64_t kCutsPerStore = 40;
constexpr std::int64_t kStepsPerCutMax = 3 * kStepsPerBlock;
constexpr std::size_t kViolationsMax = 5;
// A wrong store must be noticed within so many cuts.
constexpr std::int64_t kCutsUntilFound = 30;

struct Side {
  const char* name;
  Cut cut;
  StepInFlight leaves;
};
constexpr Side kSides[] = {
    {.name = "before", .cut = Cut::kBeforeCommit, .leaves = StepInFlight::kNotApplied},
    {.name = "after", .cut = Cut::kAfterCommit, .leaves = StepInFlight::kApplied},
    {.name = "by_server", .cut = Cut::kByServerAtCommit, .leaves = StepInFlight::kNotApplied}};

class CutStores {
 public:
  CutStores(std::uint64_t seed, const PrivateServer& server, const PrivateServer& peers,
            PostgresFault fault, CampaignReport& report)
      : dice_(seed),
        label_(absl::StrCat("seed ", seed)),
        server_(server),
        peers_(peers),
        fault_(fault),
        report_(report) {}

  void Run(std::int64_t cuts_per_side) {
    const auto cuts = cuts_per_side * static_cast<std::int64_t>(std::size(kSides));
    for (std::int64_t cut = 0; cut < cuts && report_.violations.size() < kViolationsMax; ++cut) {
      if (cut % kCutsPerStore == 0 || store_ == nullptr) OpenAnew();
      const Side& side = kSides[static_cast<std::size_t>(cut) % std::size(kSides)];
      const std::string wrong = CutOnce(side);
      Count(side.name, 1);
      if (wrong.empty()) continue;
      report_.lost += store_->lost();
      report_.duplicate_effects += store_->surplus();
      report_.violations.push_back(
          absl::StrCat(label_, ", cut ", cut, " ", side.name, ": ", wrong));
      Retire();
    }
    Retire();
  }

 private:
  // All of this store: a commit may come in one piece with its whole transaction.
  void EndSessions() const {
    postgres::testing::RunSql(
        server_.connection(),
        absl::StrCat("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE "
                     "application_name LIKE 'once:",
                     schema_, ":%' AND state LIKE 'idle%'"));
  }

  void OpenAnew() {
    Retire();
    schema_ = postgres::testing::NewSchemaName();
    MakePostgresPlace(server_.connection(), schema_);
    const std::string attacked = absl::StrCat(
        "host=", proxy_.folder(), " dbname=postgres user=once options='-c search_path=", schema_,
        "_effects'#", schema_);
    store_ = std::make_unique<AttackedStore>(
        attacked, MakePostgresPlace(peers_.connection(), schema_), dice_.Next(), fault_);
    if (const absl::Status opened = store_->Open(); !opened.ok()) {
      throw std::runtime_error(opened.ToString());
    }
  }

  std::string CutOnce(const Side& side) {
    if (store_->WriteUntilFailure(dice_.Below(kStepsPerBlock)))
      return "a step fails before the cut";
    proxy_.Arm(side.cut);
    if (store_->WriteUntilFailure(kStepsPerCutMax))
      return store_->Check(/*may_lose=*/false, side.leaves);
    proxy_.Arm(Cut::kNone);
    return "no commit passes that could be cut";
  }

  void Retire() {
    if (store_ == nullptr) return;
    report_.messages += store_->steps();
    Count("in_flight_applied", store_->in_flight_applied());
    store_ = nullptr;
  }
  void Count(const char* name, std::int64_t number) {
    report_.extras[name] = report_.extras.value(name, std::int64_t{0}) + number;
  }

  Dice dice_;
  const std::string label_;
  const PrivateServer& server_;
  const PrivateServer& peers_;
  const PostgresFault fault_;
  CampaignReport& report_;
  std::string schema_;
  WireProxy proxy_{server_.socket_folder(), [this] { EndSessions(); }};
  std::unique_ptr<AttackedStore> store_;
};

CampaignReport Run(const CampaignOptions& options) {
  CampaignReport total;
  std::mutex mutex;
  const PrivateServer server("synchronous_commit = off");
  const PrivateServer peers("fsync = off\nsynchronous_commit = off");
  constexpr std::int64_t kCutsPerPart = 50;
  const std::int64_t parts = (options.runs + kCutsPerPart - 1) / kCutsPerPart;
  constexpr std::size_t kWorkers = 2;
  ForEachInParallel(static_cast<std::size_t>(parts), kWorkers, [&](std::size_t i) {
    const std::int64_t first = static_cast<std::int64_t>(i) * kCutsPerPart;
    CampaignReport report;
    CutStores(Draw(options.seed, i), server, peers, PostgresFault::kNone, report)
        .Run(std::min(kCutsPerPart, options.runs - first));
    const std::lock_guard lock(mutex);
    Add(report, total);
    Say(absl::StrCat(total.extras.value("after", std::int64_t{0}), " of ", options.runs,
                     " cuts of each side"));
  });
  CampaignReport wrong;
  CutStores(options.seed, server, peers, PostgresFault::kKnowing, wrong).Run(kCutsUntilFound);
  NoteWrong("unknown commits taken for failures", wrong, total);
  return total;
}

}  // namespace

Campaign PostgresCutCampaign() {
  return {.name = "postgres-cut",
          .what = "connections to a PostgreSQL server cut at a COMMIT",
          .runs = 500,
          .quick_runs = 4,
          .needs_broker = false,
          .why_not = &WhyNoPostgres,
          .run = &Run};
}

}  // namespace once::campaign
