// The public suite of troubles over an SQLite file: full disks, failing writes and syncs at each
// place of a commit, and what is left of the files when the machine loses its power.
#include "once/testing/trouble_conformance.h"

#include <fstream>
#include <iterator>

#include "adapters/sqlite/tests/fault_vfs.h"
#include "adapters/sqlite/tests/store_scene.h"

namespace once::sqlite {
namespace {

class TroubledFixture final : public once::testing::TroubleFixture {
 public:
  TroubledFixture() {
    vfs_.KeepSynced();
    EXPECT_TRUE(Open("0").ok());
  }

  DedupStore& store() override { return *store_; }
  absl::Status AppendEffect(Transaction& transaction, std::string_view row) override {
    return AddEffect(transaction, row);
  }
  absl::StatusOr<std::vector<std::string>> ReadEffects() override {
    SqlResult result = OwnConnection(path_).Run("SELECT row FROM effects ORDER BY rowid");
    if (result.code != SQLITE_OK) return absl::InternalError(result.error);
    return std::move(result.rows);
  }
  absl::Status AdvanceClock(absl::Duration duration) override {
    *now_ += duration;
    return absl::OkStatus();
  }

  // What a process leaves is what the page cache holds …
  absl::Status Crash() override { return OpenWhatIsLeft(ReadInAnotherProcess); }
  // … and a machine what was synced.
  absl::Status LosePower() override {
    return OpenWhatIsLeft(
        [this](const std::string& path, const std::string&) { return vfs_.Synced(path); });
  }

  void FillUp() override { vfs_.Arm(Fault::kDiskFull, "", 1, /*is_lasting=*/true); }
  // The n-th operation of each kind, more of them than a small commit has.
  bool BreakNextWrite(int way) override {
    static constexpr Fault kFaults[] = {Fault::kWriteError, Fault::kTornWrite, Fault::kDiskFull,
                                        Fault::kSyncError};
    static constexpr int kOperations = 6;
    const auto index = static_cast<std::size_t>(way / kOperations);
    if (index >= std::size(kFaults)) return false;
    vfs_.Arm(kFaults[index], "-wal", 1 + way % kOperations);
    return true;
  }
  void EndTrouble() override { vfs_.Disarm(); }

 private:
  // Closing a descriptor of the file in this process would drop SQLite's locks.
  static std::string ReadInAnotherProcess(const std::string& path, const std::string& copy) {
    EXPECT_EQ(std::system(absl::StrCat("cp ", path, " ", copy).c_str()), 0);
    std::ifstream file(copy, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  template <typename Read>
  absl::Status OpenWhatIsLeft(const Read& read) {
    const std::string name = absl::StrCat(++openings_);
    const std::string copy = folder_.File(name);
    for (const std::string suffix : {"", "-wal"}) {
      const std::string content = read(path_ + suffix, copy + suffix);
      std::ofstream(copy + suffix, std::ios::binary) << content;
      vfs_.NoteWritten(copy + suffix, 0, content.size());
      vfs_.NoteSynced(copy + suffix, content);
    }
    before_.push_back(std::move(store_));
    return Open(name);
  }

  absl::Status Open(const std::string& name) {
    path_ = folder_.File(name);
    auto store = OpenStore({.path = path_,
                            .busy_timeout = absl::Milliseconds(20),
                            .cache_bytes = 40 * 1024,
                            .now = [now = now_] { return *now; },
                            .setup = CreateEffects});
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    return absl::OkStatus();
  }

  const std::shared_ptr<absl::Time> now_ =
      std::make_shared<absl::Time>(absl::FromUnixSeconds(1'700'000'000));
  ScratchFolder folder_;
  FaultVfs vfs_;
  int openings_ = 0;
  std::string path_;
  std::vector<std::shared_ptr<DedupStore>> before_;
  std::shared_ptr<DedupStore> store_;
};

INSTANTIATE_TEST_SUITE_P(Sqlite, StoreTroubleConformance,
                         ::testing::Values(once::testing::StoreUnderTest{
                             .name = "sqlite",
                             .make = [] { return std::make_unique<TroubledFixture>(); }}),
                         once::testing::TroubledStoreName);

}  // namespace
}  // namespace once::sqlite
