// Syncs beside transactions race with commits, with flushes and compactions and with the upkeep of
// ids, until the power fails; what is left is opened and raced on in.
#include "adapters/rocksdb/database.h"
#include "adapters/rocksdb/tests/power_scene.h"
#include "tests/store_figures.h"
#include "tests/sync_race.h"

namespace once::rocksdb {
namespace {

constexpr int kPowerFailures = 6;
// So much that a few dozen fill a memtable.
constexpr std::size_t kRowBytes = 1500;

class RocksSyncRace : public StoreScene {
 protected:
  RocksSyncRace() {
    // Seldom enough that commits lie unsynced: flushes and the sealing of ids sync them.
    SetIdLogOptionsForTest(testing::RaceIdLogOptions());
  }
  ~RocksSyncRace() override {
    store_.reset();
    SetIdLogOptionsForTest(std::nullopt);
  }

  std::string PathOf(int life) { return folder_.File(absl::StrCat("life-", life)); }
  static std::string IdOf(int number) { return absl::StrFormat("id-%06d", number); }

  StoreOptions OptionsOf(int life) {
    StoreOptions options = OptionsFor(PathOf(life));
    options.busy_timeout = absl::Seconds(10);
    options.write_buffer_bytes = 64 * 1024;
    return options;
  }

  // The id, and a row of the same name.
  absl::Status Apply(int number, Durability wanted) {
    const std::string id = IdOf(number);
    auto begun = transactions().Begin({});
    if (!begun.ok()) return begun.status();
    auto effects = TableOf(*begun->transaction, "effects");
    if (!effects.ok()) return effects.status();
    if (absl::Status put = effects->Put(id, std::string(kRowBytes, 'x')); !put.ok()) return put;
    if (absl::Status put = Complete(*begun->transaction, id); !put.ok()) return put;
    return begun->transaction->Commit(wanted);
  }

  // Rows and ids from 1 on, both the same and without a gap: how many.
  int CountApplied() {
    int count = 0;
    const absl::Status read =
        ForEachCommitted(*store_, "effects", [&](std::string_view id, std::string_view row) {
          EXPECT_EQ(id, IdOf(++count));
          EXPECT_EQ(row.size(), kRowBytes);
          return true;
        });
    EXPECT_TRUE(read.ok()) << read;
    constexpr int kUnknown = 50;
    for (int number = 1; number <= count + kUnknown; ++number) {
      EXPECT_EQ(IsCompleted(IdOf(number)), number <= count) << number;
    }
    return count;
  }

  static void ExpectOk(const absl::Status& status) { EXPECT_TRUE(status.ok()) << status; }

  FaultScope faults_;
};

TEST_F(RocksSyncRace, WhatASyncHasAcknowledgedIsThereAfterAPowerFailure) {
  int acknowledged = 0;
  std::vector<std::shared_ptr<DedupStore>> before;
  for (int life = 0; life <= kPowerFailures; ++life) {
    MustOpen(OptionsOf(life));
    ASSERT_NE(store_, nullptr);
    const int found = CountApplied();
    ASSERT_GE(found, acknowledged) << "life " << life;
    if (life == kPowerFailures) break;
    const testing::SyncRace race{
        .store = transactions(),
        .commit = [this](int number, Durability wanted) { return Apply(number, wanted); },
        .first = found + 1,
        .disturbances = {[this] { ExpectOk(store_->maintenance()->Compact({})); },
                         [this] { ExpectOk(store_->claims()->Sync()); }},
        .lose_power = [this] { faults_->SetPower(false); }};
    acknowledged = testing::SyncRaceRun(race).Run();
    LeaveSynced(*faults_, PathOf(life), PathOf(life + 1));
    before.push_back(std::move(store_));
    faults_->SetPower(true);
  }
  const auto figures = testing::FiguresOf(*store_->maintenance());
  EXPECT_GT(figures.at("runs_count"), 0) << "the upkeep had nothing to do";
}

}  // namespace
}  // namespace once::rocksdb
