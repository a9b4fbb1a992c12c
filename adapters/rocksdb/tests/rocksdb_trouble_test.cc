// The public suite of troubles over a RocksDB folder: full disks, failing writes and syncs at each
// place of a commit, and what is left of the files when the machine loses its power.
#include "once/testing/trouble_conformance.h"

#include "adapters/rocksdb/tests/fault_files.h"
#include "adapters/rocksdb/tests/power_scene.h"
#include "adapters/rocksdb/tests/store_scene.h"

namespace once::rocksdb {
namespace {

class TroubledFixture final : public once::testing::TroubleFixture {
 public:
  TroubledFixture() { EXPECT_TRUE(Open("0").ok()); }

  DedupStore& store() override { return *store_; }
  absl::Status AppendEffect(Transaction& transaction, std::string_view row) override {
    return AddEffect(transaction, row);
  }
  absl::StatusOr<std::vector<std::string>> ReadEffects() override {
    return rocksdb::ReadEffects(*store_);
  }
  absl::Status AdvanceClock(absl::Duration duration) override {
    *now_ += duration;
    return absl::OkStatus();
  }

  // What a process leaves is what the page cache holds …
  absl::Status Crash() override {
    return OpenWhatIsLeft([](const std::string& from, const std::string& to) {
      CopyStore(from, to);
      return absl::OkStatus();
    });
  }
  // … and a machine what was synced.
  absl::Status LosePower() override {
    return OpenWhatIsLeft([this](const std::string& from, const std::string& to) {
      LeaveSynced(*faults_, from, to);
      return absl::OkStatus();
    });
  }

  void FillUp() override { faults_->Arm(Fault::kDiskFull, "", 1, /*is_lasting=*/true); }
  // The n-th operation of each kind, more of them than a small commit has.
  bool BreakNextWrite(int way) override {
    static constexpr Fault kFaults[] = {Fault::kWriteError, Fault::kTornWrite, Fault::kDiskFull,
                                        Fault::kSyncError, Fault::kFullSync};
    static constexpr int kOperations = 2;
    const auto index = static_cast<std::size_t>(way / kOperations);
    if (index >= std::size(kFaults)) return false;
    faults_->Arm(kFaults[index], ".log", 1 + way % kOperations);
    return true;
  }
  void EndTrouble() override { faults_->Disarm(); }

 private:
  template <typename Leave>
  absl::Status OpenWhatIsLeft(const Leave& leave) {
    const std::string name = absl::StrCat(++openings_);
    absl::Status left = leave(folder_.File(name_), folder_.File(name));
    if (!left.ok()) return left;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.File(name))) {
      faults_->NoteSynced(entry.path().string(), entry.file_size());
    }
    before_.push_back(std::move(store_));
    return Open(name);
  }

  absl::Status Open(const std::string& name) {
    name_ = name;
    StoreOptions options = OptionsFor(folder_.File(name));
    options.now = [now = now_] { return *now; };
    auto store = OpenStore(std::move(options));
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    return absl::OkStatus();
  }

  const std::shared_ptr<absl::Time> now_ =
      std::make_shared<absl::Time>(absl::FromUnixSeconds(1'700'000'000));
  ScratchFolder folder_;
  FaultScope faults_;
  int openings_ = 0;
  std::string name_;
  std::vector<std::shared_ptr<DedupStore>> before_;
  std::shared_ptr<DedupStore> store_;
};

INSTANTIATE_TEST_SUITE_P(Rocks, StoreTroubleConformance,
                         ::testing::Values(once::testing::StoreUnderTest{
                             .name = "rocksdb",
                             .make = [] { return std::make_unique<TroubledFixture>(); }}),
                         once::testing::TroubledStoreName);

}  // namespace
}  // namespace once::rocksdb
