// Which folders a store is opened in, by whom, and what becomes of one that was damaged.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "adapters/rocksdb/tests/store_scene.h"

namespace once::rocksdb {
namespace {

using ::testing::ElementsAre;
using enum absl::StatusCode;
namespace fs = std::filesystem;

class RocksFolder : public StoreScene {
 protected:
  // The one file whose name ends so.
  std::string FileOf(std::string_view suffix) {
    for (const auto& entry : fs::directory_iterator(path())) {
      if (entry.path().string().ends_with(suffix)) return entry.path().string();
    }
    ADD_FAILURE() << "no file " << suffix;
    return "";
  }
  static void FlipByte(const std::string& file, std::size_t at) {
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekg(static_cast<std::streamoff>(at));
    const int byte = bytes.get();
    bytes.seekp(static_cast<std::streamoff>(at));
    bytes.put(static_cast<char>(byte ^ 0x10));
  }
  // Those of one table.
  void DamageFilesOf(const std::string& table) {
    for (const auto& entry : fs::directory_iterator(path())) {
      if (entry.path().extension() != ".sst") continue;
      std::ifstream stream(entry.path(), std::ios::binary);
      const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
      // Every file has its data first, and names its table at its end.
      if (bytes.find(table) != std::string::npos) FlipByte(entry.path(), 3);
    }
  }
  // Its rows are in files, not only in the log.
  void MakeFiles(const std::string& id) {
    MustOpen();
    MustApply(id);
    store_.reset();
    MustOpen();  // what is in the log is written to files
    store_.reset();
  }
};

TEST_F(RocksFolder, KeepsItsIdentityAndCountsItsOpenings) {
  MustOpen();
  const StoreTraits first = store_->traits();
  EXPECT_EQ(first.id.size(), 32u);
  EXPECT_EQ(first.open_count, 1u);
  MustOpen();
  EXPECT_EQ(store_->traits().id, first.id);
  EXPECT_EQ(store_->traits().open_count, 2u);
}

TEST_F(RocksFolder, IsOpenedOnceAtATime) {
  MustOpen();
  const auto again = OpenStore(OptionsFor(path()));
  EXPECT_THAT(again.status(), Says(kFailedPrecondition, "this process has it open already"));
}

TEST_F(RocksFolder, ThatIsMissingIsMadeUnlessItMustExist) {
  StoreOptions options = OptionsFor(path());
  options.must_exist = true;
  EXPECT_THAT(Open(options), Says(kNotFound, "must_exist"));
  EXPECT_FALSE(fs::exists(path() + ".once-lock"));
  MustOpen();
  store_.reset();
  MustOpen(options);
}

TEST_F(RocksFolder, WhoseParentIsMissingIsNotMade) {
  EXPECT_THAT(Open(OptionsFor(folder_.File("no/such"))), Says(kNotFound, "find the folder"));
}

TEST_F(RocksFolder, ThatIsAFileIsRefused) {
  std::ofstream(path()) << "something";
  EXPECT_THAT(Open(OptionsFor(path())), Says(kInvalidArgument, "not a folder"));
}

TEST_F(RocksFolder, WithOtherFilesInItIsRefusedAndLeftAlone) {
  fs::create_directory(path());
  std::ofstream(path() + "/letters.txt") << "something";
  EXPECT_THAT(Open(OptionsFor(path())), Says(kFailedPrecondition, "letters.txt"));
  EXPECT_TRUE(fs::exists(path() + "/letters.txt"));
}

TEST_F(RocksFolder, ThatHadDataIsNeverBegunAnew) {
  MustOpen();
  store_.reset();
  fs::remove_all(path());
  EXPECT_THAT(Open(OptionsFor(path())), Says(kDataLoss, "restore the folder"));
  EXPECT_FALSE(fs::exists(path()));
}

TEST_F(RocksFolder, OfAnotherStoreIsRefused) {
  MustOpen();
  store_.reset();
  const std::string other = folder_.File("other");
  MustOpen(OptionsFor(other));
  store_.reset();
  fs::remove_all(path());
  fs::rename(other, path());
  EXPECT_THAT(Open(OptionsFor(path())), Says(kFailedPrecondition, "where store"));
}

TEST_F(RocksFolder, RemovedUnderARunningStoreStopsIt) {
  MustOpen();
  fs::rename(path(), folder_.File("elsewhere"));
  EXPECT_THAT(Apply("id"), Says(kDataLoss, "removed or replaced"));
  EXPECT_THAT(transactions().ReadPositions({}).status(), Says(kDataLoss, "removed or replaced"));
  fs::rename(folder_.File("elsewhere"), path());
  MustApply("id");
}

TEST_F(RocksFolder, IsNotUsedByAForkedChild) {
  MustOpen();
  const pid_t child = ::fork();
  if (child == 0) {
    const bool is_refused = absl::IsFailedPrecondition(Apply("id"));
    store_.reset();
    ::_exit(is_refused ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  MustApply("id");
}

TEST_F(RocksFolder, OptionsThatCannotBeAreRefused) {
  StoreOptions options = OptionsFor(path());
  options.tables = {"once_ids"};
  EXPECT_THAT(Open(options), Says(kInvalidArgument, "once_"));
  options = OptionsFor(path());
  options.cache_bytes = 0;
  EXPECT_THAT(Open(options), Says(kInvalidArgument, "cache_bytes"));
  options = OptionsFor("");
  EXPECT_THAT(Open(options), Says(kInvalidArgument, "path"));
}

TEST_F(RocksFolder, WithoutSyncIsAWeakness) {
  StoreOptions options = OptionsFor(path());
  options.is_synced = false;
  MustOpen(options);
  EXPECT_EQ(store_->traits().durability, Durability::kProcess);
  EXPECT_NE(store_->traits().weakness, "");
}

// ---- Damage ----

TEST_F(RocksFolder, WithADamagedFileIsRefusedByTheCheckAndByWhoeverMeetsTheBlock) {
  MakeFiles("id");
  DamageFilesOf("effects");
  StoreOptions options = OptionsFor(path());
  options.integrity_check = true;
  EXPECT_THAT(Open(options), Says(kDataLoss, "restore a backup"));
  MustOpen();
  EXPECT_THAT(ReadEffects(*store_).status(), Says(kDataLoss, "restore a backup"));
}

TEST_F(RocksFolder, WithADamagedFileOfIdsIsRefused) {
  MakeFiles("id");
  DamageFilesOf("once_segments");
  EXPECT_THAT(Open(OptionsFor(path())), Says(kDataLoss, "restore a backup"));
}

TEST_F(RocksFolder, WithoutOneOfItsFilesIsRefused) {
  MakeFiles("id");
  fs::remove(FileOf(".sst"));
  EXPECT_THAT(Open(OptionsFor(path())), Says(kDataLoss, "restore a backup"));
}

TEST_F(RocksFolder, WithADamagedManifestIsRefused) {
  MakeFiles("id");
  for (const auto& entry : fs::directory_iterator(path())) {
    if (entry.path().filename().string().starts_with("MANIFEST")) FlipByte(entry.path(), 20);
  }
  EXPECT_THAT(Open(OptionsFor(path())), Says(kDataLoss, "restore a backup"));
}

// RocksDB itself takes the cut for the end of a process, and works with the files of before.
TEST_F(RocksFolder, WithAManifestThatEndsEarlyIsRefused) {
  MakeFiles("id");
  const std::string current = FileOf("CURRENT");
  std::string name;
  std::getline(std::ifstream(current) >> std::ws, name);
  const std::string manifest = path() + "/" + name;
  const auto size = fs::file_size(manifest);
  fs::copy_file(manifest, folder_.File("whole"));
  for (const std::uintmax_t kept : {size - 1, size / 2, std::uintmax_t{0}}) {
    fs::resize_file(manifest, kept);
    EXPECT_THAT(Open(OptionsFor(path())), Says(kDataLoss, "restore a backup")) << kept;
    fs::copy_file(folder_.File("whole"), manifest, fs::copy_options::overwrite_existing);
  }
  MustOpen();
  EXPECT_TRUE(IsCompleted("id"));
}

TEST_F(RocksFolder, WithADamagedMarkOfItsManifestOpens) {
  MakeFiles("id");
  FlipByte(FileOf("once-manifest"), 20);
  MustOpen();
  EXPECT_TRUE(IsCompleted("id"));
}

// RocksDB would replay it after the one that is there.
TEST_F(RocksFolder, WithAnEarlierLogInThePlaceOfALaterIsRefused) {
  MustOpen();
  MustApply("1");
  fs::copy_file(FileOf(".log"), folder_.File("earlier"));
  MustOpen();
  MustApply("2");
  store_.reset();
  const std::string later = path() + "/999999.log";
  fs::rename(folder_.File("earlier"), later);
  EXPECT_THAT(Open(OptionsFor(path())), Says(kDataLoss, "begins before the log"));
  fs::remove(later);
  MustOpen();
  EXPECT_TRUE(IsCompleted("2"));
}

// As after a power failure: whole transactions are gone from the end, never a part of one.
TEST_F(RocksFolder, WithADamagedLogLosesWholeTransactionsFromTheEnd) {
  MustOpen();
  for (const char* id : {"1", "2", "3", "4"}) MustApply(id);
  store_.reset();
  const std::string log = FileOf(".log");
  FlipByte(log, fs::file_size(log) / 2);
  MustOpen();
  const std::vector<std::string> effects = Effects();
  EXPECT_LT(effects.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    const std::string id = absl::StrCat(i + 1);
    EXPECT_EQ(IsCompleted(id), i < effects.size()) << id;
    if (i < effects.size()) {
      EXPECT_EQ(effects[i], id);
    }
  }
}

}  // namespace
}  // namespace once::rocksdb
