// redis-rollback: a Redis server under appendfsync everysec loses the end of its file, as a machine
// does that loses its power: cut somewhere at random, killed and started again. Where something is
// gone that a sync had promised to keep, the store must say so at its next sync, and lower its
// guarantee; where nothing is, it must keep it.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <stdexcept>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "adapters/redis/tests/claim_words.h"
#include "adapters/redis/tests/redis_server.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/disk.h"

namespace once::campaign {
namespace {

constexpr std::int64_t kIdsMax = 60;

// The file that the server appends to.
std::filesystem::path AppendedFile(const redis::testing::RedisServer& server) {
  for (const auto& entry : std::filesystem::directory_iterator(server.File("appendonlydir"))) {
    if (absl::EndsWith(entry.path().string(), ".incr.aof")) return entry.path();
  }
  throw std::runtime_error("the server has no append-only file");
}

class Rollback {
 public:
  explicit Rollback(Dice& dice)
      : dice_(dice), store_(redis::testing::MustOpen({.url = server_.url()})) {}

  // What is wrong; empty: nothing.
  std::string Play(std::int64_t& ids, std::int64_t& lost_synced) {
    const std::int64_t synced = 1 + dice_.Below(kIdsMax);
    for (std::int64_t id = 0; id < synced; ++id) {
      redis::testing::LeaveCompleted(*store_, absl::StrCat(id));
      if (const absl::Status said = store_->claims()->Sync(); !said.ok()) return said.ToString();
    }
    ids += synced;
    server_.Kill();
    const std::filesystem::path file = AppendedFile(server_);
    const auto size = static_cast<std::int64_t>(std::filesystem::file_size(file));
    // A cut near the end is what happens; one anywhere is what may.
    const std::int64_t most = dice_.OneIn(2) ? size : std::min<std::int64_t>(size, 400);
    std::filesystem::resize_file(file, static_cast<std::size_t>(size - dice_.Below(most)));
    server_.Start();
    const absl::Status first = store_->claims()->Sync();
    const Durability durability = store_->traits().durability;
    std::int64_t lost = 0;
    for (std::int64_t id = 0; id < synced; ++id) {
      const ClaimVerdict verdict = redis::testing::Ask(*store_, absl::StrCat(id));
      if (verdict != ClaimVerdict::kDuplicate) ++lost;
    }
    lost_synced += lost;
    const bool is_told = absl::IsUnavailable(first) && durability == Durability::kNothing;
    if (lost > 0 && !is_told) {
      return absl::StrCat(lost, " completions are gone, and the store says ", first.ToString());
    }
    const absl::Status second = store_->claims()->Sync();
    return second.ok() ? "" : "the second sync: " + second.ToString();
  }

 private:
  Dice& dice_;
  redis::testing::RedisServer server_{{"appendfsync everysec"}};
  const std::shared_ptr<DedupStore> store_;
};

CampaignReport Run(const CampaignOptions& options) {
  CampaignReport report;
  Dice dice(options.seed);
  std::int64_t lost_synced = 0;
  std::int64_t with_loss = 0;
  for (std::int64_t i = 0; i < options.runs; ++i) {
    const std::int64_t before = lost_synced;
    const std::string wrong = Rollback(dice).Play(report.messages, lost_synced);
    if (lost_synced > before) ++with_loss;
    if (!wrong.empty()) report.violations.push_back(absl::StrCat("rollback ", i, ": ", wrong));
  }
  if (with_loss == 0) report.violations.push_back("no rollback took back what was synced");
  report.extras = {{"rollbacks_with_loss", with_loss}, {"completions_taken_back", lost_synced}};
  return report;
}

}  // namespace

Campaign RedisRollbackCampaign() {
  return {.name = "redis-rollback",
          .what = "a Redis server loses the end of its file; the store must say so",
          .runs = 100,
          .quick_runs = 20,
          .needs_broker = false,
          .why_not = &redis::testing::WhyNoServer,
          .run = &Run};
}

}  // namespace once::campaign
