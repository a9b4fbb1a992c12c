// `once store stats | verify | compact | backup`: what it says of scripted stores, and that it
// works on real ones, open and closed.
#include "src/cli/commands/store_command.h"

#include <filesystem>

#include "once/dedup_store.h"
#include "src/cli/commands/tests/command_scene.h"
#include "tests/once_command.h"

#ifdef ONCE_HAS_SQLITE
#include "once/sqlite/store.h"
#endif
#ifdef ONCE_HAS_ROCKSDB
#include "once/rocksdb/store.h"
#endif

namespace once::cli {
namespace {

using testing::CommandResult;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::RunOnce;
using testing::ScratchFolder;

class ScriptedMaintenance : public StoreMaintenance {
 public:
  std::vector<StoreFigure> figures = {{"file_bytes", 100}, {"ids_count", 7}};
  std::vector<std::string> findings;
  absl::Status answer;
  std::vector<std::string> backups;

  absl::StatusOr<std::vector<StoreFigure>> ReadFigures() override { return figures; }
  absl::StatusOr<std::vector<std::string>> Verify(const std::stop_token&) override {
    if (!answer.ok()) return answer;
    return findings;
  }
  absl::Status Compact(const std::stop_token&) override {
    figures.front().value = 60;
    return answer;
  }
  absl::Status Backup(const std::string& path, const std::stop_token&) override {
    backups.push_back(path);
    return answer;
  }
};

class StoreCommand : public CommandScene {
 protected:
  CommandContext WithMaintenance() {
    CommandContext context = Context();
    context.maintenance = &maintenance_;
    return context;
  }
  ScriptedMaintenance maintenance_;
};

TEST_F(StoreCommand, ShowsFiguresInTheirOrder) {
  CommandContext context = WithMaintenance();
  const Report report = ShowFigures(context);
  EXPECT_EQ(report.code, kDone);
  EXPECT_EQ(report.document["figures"].dump(), R"({"file_bytes":100,"ids_count":7})");
  EXPECT_THAT(report.text, HasSubstr("ids_count"));
}

TEST_F(StoreCommand, SaysWhatIsDamagedAndExitsSo) {
  CommandContext context = WithMaintenance();
  EXPECT_EQ(VerifyStore(context).code, kDone);
  EXPECT_EQ(VerifyStore(context).document["findings"].size(), 0);
  maintenance_.findings = {"page 7", "page 9"};
  const Report report = VerifyStore(context);
  EXPECT_EQ(report.code, kFoundProblems);
  EXPECT_THAT(report.document["findings"], ElementsAre("page 7", "page 9"));
  EXPECT_THAT(NotesOf(report), HasSubstr("restore a backup"));
}

TEST_F(StoreCommand, ComparesTheFiguresOfACompaction) {
  CommandContext context = WithMaintenance();
  const Report report = CompactStore(context);
  EXPECT_EQ(report.document["before"]["file_bytes"], 100);
  EXPECT_EQ(report.document["after"]["file_bytes"], 60);
  EXPECT_EQ(report.document["after"]["ids_count"], 7);
}

TEST_F(StoreCommand, NamesAFolderOfThisProcessToTheOwner) {
  CommandContext context = WithMaintenance();
  EXPECT_EQ(BackUpStore(context, "copy.db").code, kDone);
  EXPECT_THAT(maintenance_.backups,
              ElementsAre((std::filesystem::current_path() / "copy.db").string()));
  maintenance_.answer = absl::AlreadyExistsError("something is there");
  EXPECT_EQ(BackUpStore(context, "copy.db").code, kRefused);
}

TEST_F(StoreCommand, SaysThatAStoreOffersNothing) {
  CommandContext context = Context();
  for (const Report& report : {ShowFigures(context), VerifyStore(context), CompactStore(context),
                               BackUpStore(context, "copy")}) {
    EXPECT_NE(report.code, kDone);
    EXPECT_THAT(NotesOf(report), HasSubstr("offers no figures"));
  }
}

// All four, on the store at `path`; `through` is "file" or "owner".
void TryAll(const std::string& path, const std::string& through, const std::string& copy) {
  for (const char* command : {"stats", "verify", "compact"}) {
    const CommandResult result = RunOnce({"store", command, "--json", "--store", path});
    EXPECT_EQ(result.code, kDone) << command << ": " << result.errors;
    EXPECT_EQ(result.Json()["through"], through) << result.output;
  }
  const CommandResult made = RunOnce({"store", "backup", copy, "--store", path});
  EXPECT_EQ(made.code, kDone) << made.errors;
  EXPECT_EQ(RunOnce({"store", "backup", copy, "--store", path}).code, kRefused);
  EXPECT_EQ(RunOnce({"store", "verify", "--store", copy}).code, kDone) << "the copy is a store";
  EXPECT_EQ(RunOnce({"position", "show", "--store", copy}).code, kDone);
}

#ifdef ONCE_HAS_SQLITE
TEST(StoreCommandOnSqlite, WorksOnAClosedStoreAndThroughItsOwner) {
  const ScratchFolder folder;
  const std::string path = folder.File("a.db");
  auto store = sqlite::OpenStore({.path = path});
  ASSERT_TRUE(store.ok()) << store.status();
  TryAll("sqlite:" + path, "owner", folder.File("copy-1.db"));
  store->reset();
  TryAll(path, "file", folder.File("copy-2.db"));
}
#endif

#ifdef ONCE_HAS_ROCKSDB
TEST(StoreCommandOnRocksdb, WorksOnAClosedStoreAndThroughItsOwner) {
  const ScratchFolder folder;
  const std::string path = folder.File("a.rocksdb");
  auto store = rocksdb::OpenStore({.path = path});
  ASSERT_TRUE(store.ok()) << store.status();
  TryAll("rocksdb:" + path, "owner", folder.File("copy-1"));
  store->reset();
  TryAll(path, "file", folder.File("copy-2"));
}
#endif

}  // namespace
}  // namespace once::cli
