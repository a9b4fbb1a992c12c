// What the tests of ids in runs share: a store that seals and merges them all the time, and ids of
// which each has an effect of the same name. Thread-safety: none.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "adapters/sqlite/store_ids.h"
#include "adapters/sqlite/tests/fault_vfs.h"
#include "adapters/sqlite/tests/store_scene.h"
#include "tests/store_figures.h"

namespace once::sqlite {

class IdsScene : public StoreScene {
 protected:
  // So little of everything that a few commits fill it.
  IdsScene() {
    SetIdLogOptionsForTest(stores::IdLogOptions{.recent = {.bytes_max = 4096, .chunk_bytes = 512},
                                                .reload_bytes = 1024,
                                                .page_bytes = 512,
                                                .merge = {.runs_max = 3},
                                                .seal_bytes = 2048,
                                                .seal_segments = 8});
  }
  ~IdsScene() override {
    store_.reset();
    SetIdLogOptionsForTest(std::nullopt);
  }

  static std::string IdOf(int number) { return absl::StrFormat("id-%06d", number); }

  // The background task takes turns, too.
  static StoreOptions Patient(const std::string& path) {
    StoreOptions options = OptionsFor(path);
    options.busy_timeout = absl::Seconds(10);
    options.serve_operators = false;
    return options;
  }
  void MustOpenPatiently() { MustOpen(Patient(path())); }

  // The id, and an effect of the same name.
  absl::Status ApplyAs(const std::string& id, Durability wanted = Durability::kProcess) {
    auto begun = transactions().Begin({});
    if (!begun.ok()) return begun.status();
    if (absl::Status effect = AddEffect(*begun->transaction, id); !effect.ok()) return effect;
    if (absl::Status put = Complete(*begun->transaction, id); !put.ok()) return put;
    return begun->transaction->Commit(wanted);
  }

  void MustApplyRange(int first, int end) {
    for (int i = first; i < end; ++i) {
      const absl::Status applied = ApplyAs(IdOf(i));
      ASSERT_TRUE(applied.ok()) << applied;
    }
  }

  // All in one transaction.
  std::vector<bool> AreCompleted(int end) {
    std::vector<std::string> ids;
    std::vector<IdKey> keys;
    for (int i = 0; i < end; ++i) ids.push_back(IdOf(i));
    for (const std::string& id : ids) keys.push_back({"scope", id});
    std::vector<IdRecord> records(keys.size());
    auto begun = transactions().Begin({});
    EXPECT_TRUE(begun.ok()) << begun.status();
    if (!begun.ok()) return {};
    const absl::Status found = begun->transaction->FindIds(keys, records);
    EXPECT_TRUE(found.ok()) << found;
    std::vector<bool> completed;
    for (const IdRecord& record : records) {
      completed.push_back(record.state == IdState::kCompleted);
    }
    return completed;
  }

  // Ids 0 to `known` - 1 are completed, and those after them are not.
  void ExpectKnown(int known) {
    constexpr int kUnknown = 100;
    const std::vector<bool> completed = AreCompleted(known + kUnknown);
    for (std::size_t i = 0; i < completed.size(); ++i) {
      EXPECT_EQ(completed[i], static_cast<int>(i) < known) << i;
    }
  }

  std::map<std::string, std::int64_t> Figures() {
    return once::testing::FiguresOf(*store_->maintenance());
  }

  // The background task has done all there was to do.
  void WaitUntilSealed() {
    for (int i = 0; i < 10'000; ++i) {
      const auto figures = Figures();
      if (figures.at("runs_count") > 0 && figures.at("runs_count") <= 3 &&
          figures.at("unsealed_bytes") < 2048) {
        return;
      }
      absl::SleepFor(absl::Milliseconds(1));
    }
    ADD_FAILURE() << "nothing is sealed";
  }
};

}  // namespace once::sqlite
