// A database file as a whole: its figures, its check, its room, its copy.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <stop_token>

#include "adapters/sqlite/tests/store_scene.h"
#include "tests/store_figures.h"

namespace once::sqlite {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class SqliteMaintenance : public StoreScene {
 protected:
  StoreMaintenance& maintenance() { return *store_->maintenance(); }

  std::map<std::string, std::int64_t> Figures() { return testing::FiguresOf(maintenance()); }
  void ApplyAll(int count) {
    for (int i = 0; i < count; ++i) {
      const absl::Status applied = Apply(absl::StrCat("id-", i));
      ASSERT_TRUE(applied.ok()) << applied;
    }
  }
  // Writes the same bytes elsewhere in the file: the store is closed meanwhile.
  void Replace(const std::string& from, const std::string& to) {
    store_.reset();
    std::ifstream in(path(), std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    const std::size_t at = bytes.find(from);
    ASSERT_NE(at, std::string::npos);
    bytes.replace(at, to.size(), to);
    std::ofstream(path(), std::ios::binary) << bytes;
    MustOpen();
  }
};

TEST_F(SqliteMaintenance, FiguresCountWhatIsThere) {
  MustOpen();
  ApplyAll(3);
  const auto figures = Figures();
  EXPECT_EQ(figures.at("ids_count"), 3);
  EXPECT_EQ(figures.at("recent_ids_count"), 3);
  EXPECT_EQ(figures.at("open_ids_count"), 0);
  EXPECT_EQ(figures.at("letters_pending_count"), 0);
  EXPECT_GT(figures.at("file_bytes"), 0);
  EXPECT_GT(figures.at("wal_bytes"), 0);
}

TEST_F(SqliteMaintenance, FindsNothingInASoundStoreWhileATransactionIsOpen) {
  MustOpen();
  ApplyAll(3);
  const auto open = Begin();
  const auto findings = maintenance().Verify({});
  ASSERT_TRUE(findings.ok()) << findings.status();
  EXPECT_THAT(*findings, IsEmpty());
}

TEST_F(SqliteMaintenance, FindsAnIdWhoseBytesHaveChanged) {
  MustOpen();
  ApplyAll(20);
  const SqlResult changed = OwnConnection(path()).Run(
      "UPDATE once_segments SET bytes = CAST(replace(CAST(bytes AS TEXT), 'id-7', 'id-8') AS BLOB) "
      "WHERE number = 8");
  ASSERT_EQ(changed.code, SQLITE_OK) << changed.error;
  const auto findings = maintenance().Verify({});
  ASSERT_TRUE(findings.ok()) << findings.status();
  ASSERT_THAT(*findings, SizeIs(1));
  EXPECT_THAT(findings->front(), HasSubstr("segment 8 does not match its checksum"));
}

TEST_F(SqliteMaintenance, FindsAnIndexOfAUsersTableThatIsAtOddsWithIt) {
  MustOpen();
  ASSERT_EQ(OwnConnection(path()).Run("CREATE INDEX of_effects ON effects(row)").code, SQLITE_OK);
  const auto transaction = Begin();
  ASSERT_TRUE(AddEffect(*transaction, "effect-7").ok());
  ASSERT_TRUE(AddEffect(*transaction, "effect-8").ok());
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  Replace("effect-7", "zffect-7");
  const auto findings = maintenance().Verify({});
  ASSERT_TRUE(findings.ok()) << findings.status();
  EXPECT_THAT(*findings, Not(IsEmpty()));
}

TEST_F(SqliteMaintenance, FindsALetterThatCannotBeRead) {
  MustOpen();
  const SqlResult put = OwnConnection(path()).Run(
      "INSERT INTO once_outbox(origin, state, payload) VALUES (x'00', 0, x'1234')");
  ASSERT_EQ(put.code, SQLITE_OK) << put.error;
  const auto findings = maintenance().Verify({});
  ASSERT_TRUE(findings.ok()) << findings.status();
  ASSERT_THAT(*findings, SizeIs(1));
  EXPECT_THAT(findings->front(), HasSubstr("letter 1"));
}

TEST_F(SqliteMaintenance, ACopyIsAStoreOfOneMoment) {
  MustOpen();
  ApplyAll(5);
  const std::string id = store_->traits().id;
  const auto open = Begin();
  ASSERT_TRUE(AddEffect(*open, "not committed").ok());
  const std::string copy = folder_.File("copy.db");
  const absl::Status made = maintenance().Backup(copy, {});
  ASSERT_TRUE(made.ok()) << made;
  open->Rollback();
  ASSERT_TRUE(Apply("later").ok());
  EXPECT_THAT(maintenance().Backup(copy, {}), Says(absl::StatusCode::kAlreadyExists, "a new path"));

  MustOpen(OptionsFor(copy));
  EXPECT_EQ(store_->traits().id, id);
  EXPECT_TRUE(IsCompleted("id-4"));
  EXPECT_FALSE(IsCompleted("later"));
  EXPECT_THAT(OwnConnection(copy).Run("SELECT row FROM effects").rows, SizeIs(5));
  EXPECT_TRUE(Apply("of the copy").ok());
}

TEST_F(SqliteMaintenance, ACopyThatIsGivenUpLeavesNothing) {
  MustOpen();
  ApplyAll(5);
  std::stop_source stop;
  stop.request_stop();
  const std::string copy = folder_.File("copy.db");
  EXPECT_THAT(maintenance().Backup(copy, stop.get_token()),
              Says(absl::StatusCode::kCancelled, "given up"));
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    EXPECT_FALSE(entry.path().filename().string().starts_with("copy")) << entry.path();
  }
  const absl::Status nowhere = maintenance().Backup(folder_.File("no/such/copy.db"), {});
  EXPECT_FALSE(nowhere.ok());
}

TEST_F(SqliteMaintenance, CompactingGivesRoomBackAndKeepsEverything) {
  MustOpen();
  ApplyAll(5);
  const std::string large(1'000'000, 'x');
  ASSERT_TRUE(Apply(large.substr(0, 70)).ok());
  {
    const auto transaction = Begin();
    ASSERT_TRUE(AddEffect(*transaction, large).ok());
    ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  }
  ASSERT_EQ(OwnConnection(path()).Run("DELETE FROM effects WHERE length(row) > 1000").code,
            SQLITE_OK);
  EXPECT_GT(Figures().at("free_bytes"), 900'000);
  const absl::Status compacted = maintenance().Compact({});
  ASSERT_TRUE(compacted.ok()) << compacted;
  EXPECT_EQ(Figures().at("free_bytes"), 0);
  EXPECT_LT(Figures().at("file_bytes"), 500'000);
  EXPECT_EQ(Figures().at("wal_bytes"), 0);
  EXPECT_TRUE(IsCompleted("id-4"));
  EXPECT_TRUE(Apply("later").ok());
  MustOpen();
  EXPECT_TRUE(IsCompleted("later"));
}

TEST_F(SqliteMaintenance, CompactingWaitsForATransactionOnlySoLong) {
  MustOpen();
  const auto open = Begin();
  EXPECT_THAT(maintenance().Compact({}), Says(absl::StatusCode::kUnavailable, "compact"));
}

}  // namespace
}  // namespace once::sqlite
