// store-power: the power goes at every change that an SQLite store makes to its files, one run for
// each. What the disk may then hold is drawn several times: all that was synced, and any part of
// the rest. Every time the store must open and hold the rows of some moment: not before the last
// call that promised durability, and never half of a transaction. In a third of the runs the disk
// fails before, syncs above all; the step is then repeated, as the engine would. In half of those
// the system drops pages that it could not sync: the store may then ask to be started again, and
// must be whole after that as well. A third of the stores are at synchronous=NORMAL, where no call
// promises anything but some moment. The .once-lock is carried over whole.
//
// The disk is a model (disk.h), so that thousands of cuts take a minute and each can be repeated.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/seal_soon.h"
#include "tests/campaign/store_writer.h"
#include "tests/scratch_folder.h"

namespace once::campaign {
namespace {

constexpr std::int64_t kSteps = 3 * kStepsPerBlock;
constexpr int kDrawsPerCut = 3;
constexpr int kTriesMax = 20;      // of a step while the disk fails
constexpr int kCutsInARowMax = 3;  // while it recovers from the one before
// A prime above the changes of any life.
constexpr std::int64_t kStride = 104'729;
constexpr std::size_t kViolationsMax = 5;
constexpr const char* kLockSuffix = ".once-lock";

std::string ReadFile(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

// What else is in the folder goes.
void WriteFiles(const std::string& folder, const FileContents& contents) {
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  for (const auto& [path, content] : contents) {
    std::ofstream(path, std::ios::binary) << content;
  }
}

// One life of a store from nothing to the end of its steps, and how it looks after each of them.
struct Script {
  std::uint64_t seed = 0;
  std::vector<std::vector<std::string>> dumps;  // [n]: after n steps
  std::int64_t changes = 0;                     // that its life makes to the disk
};

struct Cut {
  std::int64_t at = 0;  // 0: after the last step
  std::optional<DiskFault> fault;
  sqlite::Synchronous synchronous = sqlite::Synchronous::kFull;
  bool seals_soon = false;  // the background task of ids is at work all the time

  std::string Describe() const {
    std::string text = absl::StrCat("power cut at change ", at);
    if (fault) {
      absl::StrAppend(&text, ", after the disk failed at call ", fault->first, " of kinds ",
                      fault->work, ", ", fault->count, " times",
                      fault->drops != 0 ? ", dropping pages" : "");
    }
    if (synchronous == sqlite::Synchronous::kNormal) text += ", at synchronous=NORMAL";
    if (seals_soon) text += ", while ids are sealed";
    return text;
  }
};

class PowerCuts {
 public:
  explicit PowerCuts(const CampaignOptions& options) : options_(options) {}

  CampaignReport Run() {
    for (std::uint64_t life = 0; !IsDone(); ++life) {
      Script script{.seed = Dice(options_.seed + life * 7919).Next()};
      if (!Rehearse(script)) break;
      // Every change once, in an order that spreads a few runs over the whole life.
      for (std::int64_t i = 0; i < script.changes && !IsDone(); ++i) {
        CutOnce(script, PlanOf(script, 1 + i * kStride % script.changes));
      }
      ++scripts_;
    }
    report_.extras = {{"cuts", cuts_},
                      {"states_checked", states_},
                      {"scripts", scripts_},
                      {"cuts_while_sealing", sealed_},
                      {"cuts_after_faults", faulted_},
                      {"cuts_in_recovery", recovery_cuts_},
                      {"deaths_before", deaths_},
                      {"ends_by_dropped_pages", dropped_},
                      {"states_behind_the_newest", older_states_}};
    return std::move(report_);
  }

 private:
  bool IsDone() const {
    return cuts_ >= options_.runs || report_.violations.size() >= kViolationsMax;
  }

  void Complain(const Script& script, const std::string& what) {
    report_.violations.push_back(absl::StrCat(what, " (--seed ", options_.seed, ", life ", scripts_,
                                              " of seed ", script.seed, ", cut ", cuts_, ")"));
  }

  Cut PlanOf(const Script& script, std::int64_t at) const {
    Dice dice(script.seed + static_cast<std::uint64_t>(at) * 31);
    Cut cut{.at = at};
    if (dice.OneIn(3)) cut.synchronous = sqlite::Synchronous::kNormal;
    cut.seals_soon = dice.OneIn(2);
    if (!dice.OneIn(3)) return cut;
    const bool is_sync = dice.OneIn(2);
    cut.fault = {.work = is_sync ? kDiskSync : kDiskChange,
                 .first = 1 + dice.Below(is_sync ? 1 + at / 4 : at),
                 .count = 1 + dice.Below(3),
                 .drops = dice.OneIn(2) ? dice.Next() : 0,
                 .is_full = dice.OneIn(2)};
    return cut;
  }

  // A machine whose disk holds this.
  void Begin(const FileContents& contents) {
    disk_.Mend();
    WriteFiles(life_, contents);
    disk_.PowerUp(contents);
  }

  // A life without any fault.
  bool Rehearse(Script& script) {
    Begin({});
    SealLater();
    const std::int64_t before = disk_.changes();
    StoreWriter writer(path_, script.seed);
    absl::Status status = writer.Open();
    if (status.ok()) script.dumps.push_back(DumpStore(path_));
    for (std::int64_t step = 0; step < kSteps && status.ok(); ++step) {
      Die(writer, step);
      status = writer.Do(step);
      if (!status.ok())
        status = absl::InternalError(writer.Describe(step) + ": " + status.ToString());
      script.dumps.push_back(DumpStore(path_));
    }
    script.changes = disk_.changes() - before;
    if (!status.ok()) Complain(script, status.ToString());
    return status.ok();
  }

  // Every other time that a store is closed, its process dies instead.
  void Die(StoreWriter& writer, std::int64_t step) {
    if (!writer.IsReopening(step) || step / kStepsPerBlock % 2 == 1) return;
    disk_.Deafen(true);
    writer.Close();
    disk_.Deafen(false);
    ++deaths_;
  }

  // Until it is OK, or the power is gone. False when a mended disk does not help. Where pages were
  // dropped, `work` must be done by a new process when the store says so, and when it is opened
  // anew: it has then forgotten steps that were not durable, so this life ends here. What the
  // background task of ids has met, no step tells of.
  bool Try(StoreWriter& writer, bool is_opening, const std::function<absl::Status()>& work) {
    for (int i = 0; i < kTriesMax; ++i) {
      last_ = work();
      if (!disk_.has_power()) return true;
      const bool has_forgotten = is_opening ? !last_.ok() || seals_soon_ : absl::IsDataLoss(last_);
      if (disk_.drops() > 0 && has_forgotten) {
        is_dropped_ = true;
        disk_.CutPowerNow();
        return true;
      }
      if (last_.ok()) return true;
      // The row says which of the two an unknown commit was; the step is done again in any case.
      if (is_open_) writer.TakeRow().IgnoreError();
    }
    return false;
  }

  void CutOnce(const Script& script, const Cut& cut) {
    Begin({});
    ++cuts_;
    seals_soon_ = cut.seals_soon;
    seals_soon_ ? SealSoon() : SealLater();
    sealed_ += cut.seals_soon ? 1 : 0;
    if (cut.fault) disk_.Fail(*cut.fault);
    disk_.CutPowerAt(cut.at);
    StoreWriter writer(path_, script.seed, SqliteKind(cut.synchronous));
    is_open_ = is_dropped_ = false;
    bool is_well = Try(writer, false, [&] { return writer.Open(); });
    is_open_ = true;
    std::int64_t durable = 0;
    std::int64_t begun = 0;
    while (is_well && disk_.has_power() && begun < kSteps) {
      const std::int64_t step = begun++;
      Die(writer, step);
      is_well = Try(writer, writer.IsReopening(step), [&] { return writer.Do(step); });
      if (disk_.has_power() && writer.IsDurable(step)) durable = begun;
    }
    if (!is_well) {
      return Complain(script, absl::StrCat("the store does not go on after ", cut.Describe(), ": ",
                                           last_.ToString()));
    }
    if (disk_.has_power()) disk_.CutPowerNow();
    if (cut.fault && disk_.failures() > 0) ++faulted_;
    writer.Close();
    Dice dice(script.seed ^ static_cast<std::uint64_t>(cut.at));
    const std::string lock = ReadFile(path_ + kLockSuffix);
    std::vector<FileContents> draws = DrawSome(dice);
    if (is_dropped_) draws.push_back(ReadAsTheyAre());
    dropped_ += is_dropped_ ? 1 : 0;
    for (const FileContents& left : draws) {
      CheckAfterwards(script, cut, durable, begun, left, lock, dice);
      if (IsDone()) return;
    }
  }

  std::vector<FileContents> DrawSome(Dice& dice) const {
    std::vector<FileContents> draws;
    for (int i = 0; i < kDrawsPerCut; ++i) draws.push_back(disk_.AfterPowerCut(dice));
    return draws;
  }

  // What a new process would find.
  FileContents ReadAsTheyAre() const {
    FileContents contents;
    for (const std::string& path : {path_, path_ + "-wal"}) {
      if (std::filesystem::exists(path)) contents[path] = ReadFile(path);
    }
    return contents;
  }

  void CheckAfterwards(const Script& script, const Cut& cut, std::int64_t durable,
                       std::int64_t begun, FileContents left, const std::string& lock, Dice& dice) {
    ++states_;
    StoreWriter writer(path_, script.seed, SqliteKind(cut.synchronous));
    absl::Status opened;
    for (int i = 0; i < kCutsInARowMax; ++i) {
      if (!lock.empty()) left[path_ + kLockSuffix] = lock;
      Begin(left);
      if (dice.OneIn(4)) disk_.CutPowerAt(1 + dice.Below(12));
      opened = writer.Open();
      if (disk_.has_power()) break;
      ++recovery_cuts_;
      writer.Close();
      left = disk_.AfterPowerCut(dice);
    }
    if (!disk_.has_power()) {
      Begin(left);
      opened = writer.Open();
    }
    if (!opened.ok()) {
      return Complain(script, absl::StrCat("the store does not open after ", cut.Describe(), ": ",
                                           opened.ToString()));
    }
    disk_.KeepPower();
    Compare(script, cut, durable, begun, writer);
    writer.Close();
  }

  void Compare(const Script& script, const Cut& cut, std::int64_t durable, std::int64_t begun,
               StoreWriter& writer) {
    const std::vector<std::string> found = DumpStore(path_);
    const auto first = script.dumps.begin() + durable;
    const auto end = script.dumps.begin() + begun + 1;
    const auto same = std::find(first, end, found);
    report_.messages += begun;
    if (same == end) {
      const auto older = std::find(script.dumps.begin(), first, found);
      report_.lost += older != first ? 1 : 0;
      return Complain(
          script, absl::StrCat(cut.Describe(), ": after ", writer.Describe(begun - 1),
                               ", durable up to step ", durable - 1, ", the store holds ",
                               older != first
                                   ? absl::StrCat("only ", older - script.dumps.begin(), " steps")
                                   : "the rows of no moment",
                               DescribeDifference(script.dumps[durable], found)));
    }
    if (same + 1 != end) ++older_states_;
    for (std::int64_t step = kSteps; step < kSteps + kStepsPerBlock; ++step) {
      if (const absl::Status done = writer.Do(step); !done.ok()) {
        return Complain(script, absl::StrCat(cut.Describe(), ": then ", writer.Describe(step), ": ",
                                             done.ToString()));
      }
    }
  }

  const CampaignOptions options_;
  const testing::ScratchFolder folder_;
  const std::string life_ = folder_.File("life");
  const std::string path_ = life_ + "/store.db";
  Disk disk_;
  bool is_open_ = false;
  bool is_dropped_ = false;
  bool seals_soon_ = false;
  absl::Status last_;  // of what was tried
  CampaignReport report_;
  std::int64_t cuts_ = 0;
  std::int64_t sealed_ = 0;
  std::int64_t states_ = 0;
  std::int64_t scripts_ = 0;
  std::int64_t faulted_ = 0;
  std::int64_t recovery_cuts_ = 0;
  std::int64_t deaths_ = 0;
  std::int64_t dropped_ = 0;
  std::int64_t older_states_ = 0;
};

CampaignReport Run(const CampaignOptions& options) { return PowerCuts(options).Run(); }

}  // namespace

Campaign StorePowerCampaign() {
  return {.name = "store-power",
          .what = "power cuts at every change an SQLite store makes to its files",
          .runs = 5'000,
          .quick_runs = 100,
          .needs_broker = false,
          .run = &Run};
}

}  // namespace once::campaign
