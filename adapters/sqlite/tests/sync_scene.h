// What the tests of syncs share: a store on a FaultVfs that keeps what was synced, and what is left
// after a power failure or the death of the process. Thread-safety: none.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "adapters/sqlite/tests/fault_vfs.h"
#include "adapters/sqlite/tests/store_scene.h"

namespace once::sqlite {

inline constexpr auto kUnavailable = absl::StatusCode::kUnavailable;
inline constexpr auto kProcess = Durability::kProcess;
inline constexpr auto kMachine = Durability::kMachine;

inline absl::Status CheckpointAtEveryCommit(sqlite3* connection) {
  RunSql(connection, "CREATE TABLE IF NOT EXISTS effects(row TEXT); PRAGMA wal_autocheckpoint = 1");
  return absl::OkStatus();
}

inline std::string ReadFile(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

class SyncScene : public StoreScene {
 protected:
  SyncScene() { vfs_.KeepSynced(); }

  absl::Status Apply(const std::string& id, Durability wanted) {
    auto begun = transactions().Begin({});
    if (!begun.ok()) return begun.status();
    if (absl::Status effect = AddEffect(*begun->transaction, id); !effect.ok()) return effect;
    if (absl::Status put = Complete(*begun->transaction, id); !put.ok()) return put;
    return begun->transaction->Commit(wanted);
  }

  absl::Status Claim(std::string_view id) {
    const ClaimRequest request{.key = {"scope", id}, .fence = store_->claims()->NewFence()};
    ClaimResult result;
    return store_->claims()->TryClaim({&request, 1}, absl::Minutes(1), {&result, 1});
  }

  // The first column of what `sql` finds after the power has failed now, or the process has died.
  std::vector<std::string> AfterPowerFailure(const std::string& sql) {
    const std::string copy = folder_.File(absl::StrCat("failed-", ++copies_, ".db"));
    std::ofstream(copy, std::ios::binary) << vfs_.Synced(path());
    std::ofstream(copy + "-wal", std::ios::binary) << vfs_.Synced(path() + "-wal");
    return OwnConnection(copy).Run(sql).rows;
  }
  std::vector<std::string> AfterCrash(const std::string& sql) {
    const std::string copy = folder_.File(absl::StrCat("died-", ++copies_, ".db"));
    EXPECT_EQ(
        std::system(absl::StrCat("cp ", path(), " ", copy, " && cp ", path(), "-wal ", copy, "-wal")
                        .c_str()),
        0);
    return OwnConnection(copy).Run(sql).rows;
  }
  std::vector<std::string> EffectsAfterPowerFailure() {
    return AfterPowerFailure("SELECT row FROM effects ORDER BY rowid");
  }

  // Syncs of any file that `work` does.
  template <typename Work>
  int CountSyncs(Work work) {
    const int before = vfs_.CountSyncs("");
    work();
    return vfs_.CountSyncs("") - before;
  }

  FaultVfs vfs_;
  int copies_ = 0;
};

}  // namespace once::sqlite
