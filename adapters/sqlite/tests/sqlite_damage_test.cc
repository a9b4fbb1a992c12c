// Damage that SQLite itself does not notice: bytes that changed, rows that are gone or in disorder.
// What is answered is right, or it is data loss; README.md says what remains.
#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "adapters/sqlite/store_ids.h"
#include "adapters/sqlite/tests/store_scene.h"
#include "tests/store_figures.h"

namespace once::sqlite {
namespace {

constexpr auto kDataLoss = absl::StatusCode::kDataLoss;
constexpr int kIds = 600;

std::string IdOf(int number) { return absl::StrCat("message ", 1000 + number, " of the year"); }

IdState StateOf(int number) {
  constexpr IdState kStates[] = {IdState::kCompleted, IdState::kDead, IdState::kDiscarded};
  return kStates[static_cast<std::size_t>(number) % std::size(kStates)];
}

class SqliteDamage : public StoreScene {
 protected:
  // A closed store of kIds ids, neighbours in different states.
  void Fill() {
    MustOpen();
    const auto transaction = Begin();
    for (int i = 0; i < kIds; ++i) {
      const std::string id = IdOf(i);
      const IdWrite write{.key = {"scope", id}, .record = {.state = StateOf(i)}};
      ASSERT_TRUE(transaction->PutIds({&write, 1}).ok());
    }
    ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
    store_.reset();
    whole_ = ReadFile();
  }

  std::string ReadFile() const {
    std::ifstream in(path(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  void Write(const std::string& content) {
    store_.reset();
    std::ofstream(path(), std::ios::binary | std::ios::trunc) << content;
  }

  // The file with another byte where `text` begins.
  std::string Spoiled(const std::string& text, char byte) const {
    std::string content = whole_;
    const std::size_t at = content.find(text);
    EXPECT_NE(at, std::string::npos) << text;
    content[at] = byte;
    return content;
  }

  absl::StatusOr<IdState> Find(const std::string& id) {
    const auto transaction = Begin();
    const IdKey key{"scope", id};
    IdRecord record;
    const absl::Status found = transaction->FindIds({&key, 1}, {&record, 1});
    if (!found.ok()) return found;
    return record.state;
  }

  StoreOptions Checked() const {
    StoreOptions options = OptionsFor(path());
    options.integrity_check = true;
    return options;
  }

  std::string whole_;
};

// In the segment or in an open row: both are read when the store is opened.
TEST_F(SqliteDamage, ABitOfAnIdThatIsReadAtOpeningIsRefusedThere) {
  Fill();
  for (int damaged = 0; damaged < kIds; damaged += 37) {
    SCOPED_TRACE(IdOf(damaged));
    Write(Spoiled(IdOf(damaged), 'n'));
    EXPECT_THAT(Open(OptionsFor(path())), Says(kDataLoss, "restore"));
  }
}

TEST_F(SqliteDamage, TheIntegrityCheckFindsATableOutOfOrder) {
  MustOpen();
  ASSERT_EQ(OwnConnection(path()).Run("CREATE INDEX of_effects ON effects(row)").code, SQLITE_OK);
  ASSERT_TRUE(Apply("an effect").ok());
  ASSERT_TRUE(Apply("another one").ok());
  store_.reset();
  whole_ = ReadFile();
  Write(Spoiled("an effect", 'z'));
  EXPECT_FALSE(Open(Checked()).ok());
  Write(whole_);
  MustOpen(Checked());
}

TEST_F(SqliteDamage, ADamagedNameOfAScopeIsFoundAtEveryOpening) {
  MustOpen();
  const OutboxRow letter{.origin = {.key = Orders(), .offset = 7},
                         .message = {.topic = "orders.dlq"},
                         .scope = "scope",
                         .id = "id"};
  const auto transaction = Begin();
  ASSERT_TRUE(transaction->PutOutgoing({&letter, 1}).ok());
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  store_.reset();
  whole_ = ReadFile();
  // Once in the table, once in its index.
  int places = 0;
  for (std::size_t at = whole_.find("scope"); at != std::string::npos;
       at = whole_.find("scope", at + 1)) {
    std::string content = whole_;
    content[at] = 'S';
    Write(content);
    if (const absl::Status opened = Open(OptionsFor(path())); !opened.ok()) {
      EXPECT_THAT(opened, Says(kDataLoss, "restore"));
      ++places;
    } else {
      const auto letters = store_->operations()->FindFailures({});
      ASSERT_TRUE(letters.ok()) << letters.status();
      ASSERT_EQ(letters->size(), 1u);
      EXPECT_EQ(letters->front().scope, "scope") << "damaged at " << at;
    }
  }
  EXPECT_GE(places, 2);
}

// ---- Runs ----

class SqliteDamagedRun : public SqliteDamage {
 protected:
  SqliteDamagedRun() {
    SetIdLogOptionsForTest(stores::IdLogOptions{.recent = {.bytes_max = 4096, .chunk_bytes = 512},
                                                .reload_bytes = 0,
                                                .page_bytes = 512,
                                                .seal_segments = 1});
  }
  ~SqliteDamagedRun() override {
    store_.reset();
    SetIdLogOptionsForTest(std::nullopt);
  }

  // A closed store whose ids lie in a run.
  void FillRun() {
    StoreOptions options = OptionsFor(path());
    options.busy_timeout = absl::Seconds(10);
    MustOpen(options);
    const auto transaction = Begin();
    for (int i = 0; i < kIds; ++i) ASSERT_TRUE(Complete(*transaction, IdOf(i)).ok());
    ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
    for (int i = 0; i < 10'000; ++i) {
      const auto figures = once::testing::FiguresOf(*store_->maintenance());
      if (figures.at("runs_count") == 1 && figures.at("unsealed_bytes") == 0) break;
      absl::SleepFor(absl::Milliseconds(1));
    }
    store_.reset();
    // What was sealed may still lie in pages that are free.
    ASSERT_EQ(OwnConnection(path()).Run("VACUUM").code, SQLITE_OK);
    whole_ = ReadFile();
  }
};

TEST_F(SqliteDamagedRun, NoIdIsEverAnsweredFromDamagedBytes) {
  FillRun();
  int noticed = 0;
  for (int damaged = 1; damaged < kIds; damaged += 37) {
    Write(Spoiled(IdOf(damaged), 'n'));
    const absl::Status opened = Open(OptionsFor(path()));
    if (!opened.ok()) {  // the first of its page: it is part of the index, too
      EXPECT_THAT(opened, Says(kDataLoss, "restore a backup"));
      continue;
    }
    for (int i = 0; i < kIds; ++i) {
      const absl::StatusOr<IdState> state = Find(IdOf(i));
      if (state.ok()) {
        ASSERT_EQ(*state, IdState::kCompleted) << IdOf(i) << " beside " << IdOf(damaged);
      } else {
        ASSERT_THAT(state.status(), Says(kDataLoss, "restore a backup"));
        ++noticed;
      }
    }
    EXPECT_EQ(Find(IdOf(damaged)).status().code(), kDataLoss);
  }
  EXPECT_GT(noticed, 0);
}

TEST_F(SqliteDamagedRun, APageThatIsMissingIsDataLossNeverAnAbsentId) {
  FillRun();
  ASSERT_EQ(OwnConnection(path()).Run("DELETE FROM once_pages WHERE place & 0xffffffff = 3").code,
            SQLITE_OK);
  MustOpen();
  int noticed = 0;
  for (int i = 0; i < kIds; ++i) {
    const absl::StatusOr<IdState> state = Find(IdOf(i));
    if (state.ok()) {
      ASSERT_EQ(*state, IdState::kCompleted);
    } else {
      ASSERT_THAT(state.status(), Says(kDataLoss, "page 3 of run 1 is missing"));
      ++noticed;
    }
  }
  EXPECT_GT(noticed, 0);
}

TEST_F(SqliteDamagedRun, AListOfRunsThatIsGoneIsRefusedAtOpening) {
  FillRun();
  ASSERT_EQ(OwnConnection(path()).Run("DELETE FROM once_meta WHERE key = 'manifest'").code,
            SQLITE_OK);
  EXPECT_THAT(Open(OptionsFor(path())), Says(kDataLoss, "runs and no manifest"));
}

TEST_F(SqliteDamage, ASegmentThatIsMissingIsRefusedAtOpening) {
  MustOpen();
  for (const char* id : {"a", "b", "c"}) ASSERT_TRUE(Apply(id).ok());
  store_.reset();
  ASSERT_EQ(OwnConnection(path()).Run("DELETE FROM once_segments WHERE number = 2").code,
            SQLITE_OK);
  EXPECT_THAT(Open(OptionsFor(path())), Says(kDataLoss, "segment 2 is missing"));
}

// For README.md. One bit, anywhere in a file of which the ids are the greater part.
TEST_F(SqliteDamage, DISABLED_HowManyFlippedBitsAreNoticed) {
  constexpr int kFlips = 1000;
  Fill();
  for (const bool is_checked : {false, true}) {
    std::mt19937_64 random(1);
    std::map<std::string, int> counts;
    int wrong_ids = 0;
    for (int flip = 0; flip < kFlips; ++flip) {
      std::string content = whole_;
      char& byte = content[random() % content.size()];
      byte = static_cast<char>(byte ^ (1 << random() % 8));
      Write(content);
      StoreOptions options = OptionsFor(path());
      options.integrity_check = is_checked;
      options.synchronous = Synchronous::kOff;
      if (!Open(std::move(options)).ok()) {
        ++counts["refused at opening"];
        continue;
      }
      int wrong = 0;
      bool has_error = false;
      for (int i = 0; i < kIds; ++i) {
        const absl::StatusOr<IdState> state = Find(IdOf(i));
        has_error = has_error || !state.ok();
        if (state.ok() && *state != StateOf(i)) ++wrong;
      }
      wrong_ids += wrong;
      ++counts[wrong > 0 ? "wrong answers" : has_error ? "errors, no wrong answer" : "harmless"];
    }
    std::cout << (is_checked ? "with" : "without") << " integrity_check, of " << kFlips << ":";
    for (const auto& [what, count] : counts) std::cout << "  " << what << " " << count;
    std::cout << "  (wrong ids in all: " << wrong_ids << ")\n";
  }
}

}  // namespace
}  // namespace once::sqlite
