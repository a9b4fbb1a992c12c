// Syncs beside transactions race with commits, with checkpoints of this connection and of another
// one, and with the upkeep of ids, until the power fails; what is left is opened and raced on in.
#include <fstream>

#include "adapters/sqlite/database.h"
#include "adapters/sqlite/tests/ids_scene.h"
#include "tests/sync_race.h"

namespace once::sqlite {
namespace {

constexpr int kPowerFailures = 6;

class SqliteSyncRace : public IdsScene {
 protected:
  SqliteSyncRace() {
    vfs_.KeepSynced();
    // Seldom enough that commits lie unsynced: checkpoints and the sealing of ids sync them.
    SetCheckpointPagesForTest(150);
    SetIdLogOptionsForTest(testing::RaceIdLogOptions());
  }
  ~SqliteSyncRace() override {
    store_.reset();
    SetCheckpointPagesForTest(0);
  }

  std::string PathOf(int life) { return folder_.File(absl::StrCat("life-", life, ".db")); }

  // What the machine has once it is on again, under another name: the former store is still open.
  void Leave(const std::string& from, const std::string& to) {
    const auto paused = vfs_.Pause();
    for (const char* suffix : {"", "-wal"}) {
      const std::string content = vfs_.Synced(from + suffix);
      std::ofstream(to + suffix, std::ios::binary) << content;
      vfs_.NoteWritten(to + suffix, 0, content.size());
      vfs_.NoteSynced(to + suffix, content);
    }
  }

  FaultVfs vfs_;
};

TEST_F(SqliteSyncRace, WhatASyncHasAcknowledgedIsThereAfterAPowerFailure) {
  int acknowledged = 0;
  std::vector<std::shared_ptr<DedupStore>> before;
  for (int life = 0; life <= kPowerFailures; ++life) {
    MustOpen(Patient(PathOf(life)));
    ASSERT_NE(store_, nullptr);
    const auto rows =
        OwnConnection(PathOf(life)).Run("SELECT row FROM effects ORDER BY rowid").rows;
    const auto found = static_cast<int>(rows.size());
    ASSERT_GE(found, acknowledged) << "life " << life;
    for (int i = 0; i < found; ++i) ASSERT_EQ(rows[static_cast<std::size_t>(i)], IdOf(i));
    ExpectKnown(found);
    if (life == kPowerFailures) break;
    OwnConnection other(PathOf(life));
    const testing::SyncRace race{
        .store = transactions(),
        .commit = [&](int number, Durability wanted) { return ApplyAs(IdOf(number - 1), wanted); },
        .first = found + 1,
        .disturbances = {[&] { other.Run("PRAGMA wal_checkpoint(PASSIVE)"); },
                         [&] { EXPECT_TRUE(store_->claims()->Sync().ok()); }},
        .lose_power = [&] { Leave(PathOf(life), PathOf(life + 1)); }};
    acknowledged = testing::SyncRaceRun(race).Run();
    before.push_back(std::move(store_));
  }
  EXPECT_GT(Figures().at("runs_count"), 0) << "the upkeep had nothing to do";
}

}  // namespace
}  // namespace once::sqlite
