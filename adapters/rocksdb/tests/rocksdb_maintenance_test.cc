// A RocksDB folder as a whole: its figures, its check, its room, its copy.
#include <filesystem>
#include <fstream>
#include <map>
#include <stop_token>

#include "adapters/rocksdb/tests/store_scene.h"
#include "tests/store_figures.h"

namespace once::rocksdb {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class RocksMaintenance : public StoreScene {
 protected:
  StoreMaintenance& maintenance() { return *store_->maintenance(); }

  std::map<std::string, std::int64_t> Figures() { return testing::FiguresOf(maintenance()); }
  void ApplyAll(int count) {
    for (int i = 0; i < count; ++i) {
      const absl::Status applied = Apply(absl::StrCat("id-", i));
      ASSERT_TRUE(applied.ok()) << applied;
    }
  }
};

TEST_F(RocksMaintenance, FiguresCountWhatIsThere) {
  MustOpen();
  ApplyAll(3);
  EXPECT_EQ(Figures().at("ids_count"), 3);
  EXPECT_GT(Figures().at("log_bytes"), 0);
  EXPECT_EQ(Figures().at("table_bytes"), 0);
  ASSERT_TRUE(maintenance().Compact({}).ok());
  EXPECT_GT(Figures().at("table_bytes"), 0);
}

TEST_F(RocksMaintenance, FindsNothingInASoundStoreWhileATransactionIsOpen) {
  MustOpen();
  ApplyAll(3);
  ASSERT_TRUE(maintenance().Compact({}).ok());
  const auto open = Begin();
  const auto findings = maintenance().Verify({});
  ASSERT_TRUE(findings.ok()) << findings.status();
  EXPECT_THAT(*findings, IsEmpty());
}

TEST_F(RocksMaintenance, FindsADamagedTable) {
  MustOpen();
  ApplyAll(50);
  ASSERT_TRUE(maintenance().Compact({}).ok());
  int damaged = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path())) {
    if (entry.path().extension() != ".sst") continue;
    std::fstream file(entry.path(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(10);
    file.write("\xff\xff\xff", 3);
    ++damaged;
  }
  ASSERT_GT(damaged, 0);
  const auto findings = maintenance().Verify({});
  // RocksDB may also refuse to read on: damage by either word.
  EXPECT_TRUE(!findings.ok() || !findings->empty());
  if (findings.ok()) {
    EXPECT_THAT(*findings, Not(IsEmpty()));
  } else {
    EXPECT_EQ(findings.status().code(), absl::StatusCode::kDataLoss) << findings.status();
  }
}

TEST_F(RocksMaintenance, ACopyIsAStoreOfOneMoment) {
  MustOpen();
  ApplyAll(5);
  const std::string id = store_->traits().id;
  const auto open = Begin();
  ASSERT_TRUE(AddEffect(*open, "not committed").ok());
  const std::string copy = folder_.File("copy.rocksdb");
  const absl::Status made = maintenance().Backup(copy, {});
  ASSERT_TRUE(made.ok()) << made;
  open->Rollback();
  ASSERT_TRUE(Apply("later").ok());
  EXPECT_EQ(maintenance().Backup(copy, {}).code(), absl::StatusCode::kAlreadyExists);

  MustOpen(OptionsFor(copy));
  EXPECT_EQ(store_->traits().id, id);
  EXPECT_TRUE(IsCompleted("id-4"));
  EXPECT_FALSE(IsCompleted("later"));
  EXPECT_THAT(*ReadEffects(*store_), SizeIs(5));
  EXPECT_TRUE(Apply("of the copy").ok());
}

TEST_F(RocksMaintenance, ACopyThatIsGivenUpLeavesNothing) {
  MustOpen();
  std::stop_source stop;
  stop.request_stop();
  const std::string copy = folder_.File("copy.rocksdb");
  EXPECT_EQ(maintenance().Backup(copy, stop.get_token()).code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(std::filesystem::exists(copy));
  EXPECT_FALSE(maintenance().Backup(folder_.File("no/such/copy"), {}).ok());
}

TEST_F(RocksMaintenance, CompactingKeepsEverything) {
  MustOpen();
  ApplyAll(5);
  ASSERT_TRUE(maintenance().Compact({}).ok());
  EXPECT_TRUE(IsCompleted("id-4"));
  EXPECT_TRUE(Apply("later").ok());
  MustOpen();
  EXPECT_TRUE(IsCompleted("later"));
  EXPECT_THAT(*ReadEffects(*store_), SizeIs(6));
}

}  // namespace
}  // namespace once::rocksdb
