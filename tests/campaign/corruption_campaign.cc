// corruption: bytes of a store's files are flipped, zeroed, exchanged or cut off while nobody has
// it open; then it is opened, asked for everything that was recorded, and worked with. It must not
// crash, nor begin anew in the place of the old store. Damage to the -wal may cost the newest
// transactions, as a power cut does, and nothing else.
//
// SQLite keeps no checksums of pages, so damage to the database file can change what a row says
// without anybody noticing: `undetected` counts the files of which at least one id, position or
// letter is answered wrongly and without an error, `undetected_checked` those of them that were
// opened with integrity_check. Of these only the rows whose very bytes were flipped may be answered
// wrongly, one for each flip; any other wrong answer is a violation, for the check can see it.
#include <sys/wait.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "once/sqlite/store.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/damage.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/store_writer.h"
#include "tests/scratch_folder.h"

namespace once::campaign {
namespace {

constexpr std::int64_t kSteps = 40 * kStepsPerBlock;
constexpr std::int64_t kStepsInWal = 13;  // none of them opens the store again
constexpr std::size_t kViolationsMax = 5;
constexpr std::uint64_t kWriterSeed = 9;  // whose -wal is not moved to the database by itself

// A closed store, and one whose process has died with commits in the -wal.
struct Template {
  FileContents closed;
  FileContents died;  // by suffix
  std::string store_id;
  Answers answers;                              // of the closed one
  std::vector<std::vector<std::string>> dumps;  // of the one with a -wal, after each step in it
};

FileContents ReadStore(const std::string& path) {
  FileContents files;
  for (const char* suffix : {"", "-wal", ".once-lock"}) {
    if (std::filesystem::exists(path + suffix)) files[suffix] = ReadFile(path + suffix);
  }
  return files;
}

void Require(const absl::Status& status) {
  if (!status.ok()) throw std::runtime_error("corruption: " + status.ToString());
}

Template MakeTemplate() {
  const testing::ScratchFolder folder;
  const std::string path = folder.File("store.db");
  Disk disk;  // no real syncs
  StoreWriter writer(path, kWriterSeed);
  Require(writer.Open());
  std::int64_t step = 0;
  for (; step < kSteps; ++step) Require(writer.Do(step));
  writer.Close();
  Template made;
  made.closed = ReadStore(path);
  Require(writer.Open());
  made.dumps.push_back(DumpStore(path));
  for (; step < kSteps + kStepsInWal; ++step) {
    Require(writer.Do(step));
    made.dumps.push_back(DumpStore(path));
  }
  made.died = ReadStore(path);
  writer.Close();
  for (const auto& [suffix, content] : made.closed) WriteFile(path + suffix, content);
  const auto store = sqlite::OpenStore({.path = path, .serve_operators = false});
  Require(store.status());
  made.store_id = (*store)->traits().id;
  made.answers = AskForAll(**store, StoreWriter::IdsOf(kSteps));
  return made;
}

// What a process found out about one damaged store; it tells by its exit code.
enum class Finding : int {
  kRefused = 10,     // the store does not open
  kErrors = 11,      // some answers are errors, the others right
  kHarmless = 12,    // all answers are right
  kRolledBack = 13,  // the rows of an earlier moment
  kWrong = 14,       // a wrong answer, without an error
  kHalf = 15,        // damage to the -wal, and the rows of no moment
  kEmpty = 16,       // a store, but nothing in it, or another one
  kWrongSeen = 17,   // a wrong answer that integrity_check can see, and did not
};

// Whether a flipped byte may lie in the row that answers the question. Near the name in it, that
// is: a neighbour's may be taken for it, one elsewhere never.
bool IsInRowOf(const std::string& question, const Template& whole, const Damage& damage) {
  constexpr std::string_view kLetter = "letter ";
  constexpr std::size_t kRowBytesMax = 300;
  const std::string name = question == "position"          ? "orders"
                           : question.starts_with(kLetter) ? question.substr(kLetter.size())
                                                           : question;
  const std::string& file = whole.closed.at("");
  return std::any_of(damage.flips.begin(), damage.flips.end(), [&](std::int64_t flip) {
    const auto at = static_cast<std::size_t>(flip);
    const std::size_t begin = at - std::min(at, kRowBytesMax);
    return std::string_view(file).substr(begin, 2 * kRowBytesMax).find(name) !=
           std::string_view::npos;
  });
}

bool HasWrongBeyondItsRows(const std::vector<std::string>& wrong, const Template& whole,
                           const Damage& damage) {
  return wrong.size() > damage.flips.size() ||
         !std::all_of(wrong.begin(), wrong.end(), [&](const std::string& question) {
           return IsInRowOf(question, whole, damage);
         });
}

// How a store is damaged, and how it is opened.
struct Case {
  bool is_wal = false;
  bool is_checked = false;
  Damage damage;

  std::string Describe() const {
    return absl::StrCat(is_wal ? "-wal" : "database", ": ", damage.what,
                        is_checked ? ", integrity_check" : "");
  }
};

Finding Judge(const Template& whole, const std::string& path, const Case& the_case) {
  auto store = sqlite::OpenStore(
      {.path = path, .integrity_check = the_case.is_checked, .serve_operators = false});
  if (!store.ok()) return Finding::kRefused;
  if ((*store)->traits().id != whole.store_id) return Finding::kEmpty;
  const Answers found = AskForAll(**store, StoreWriter::IdsOf(kSteps));
  if (IsEmpty(found)) return Finding::kEmpty;
  *store = nullptr;
  if (the_case.is_wal) {
    const auto dump = DumpStore(path);
    WorkWith(path, SqliteKind(), kWriterSeed, 2 * kSteps);
    if (dump == whole.dumps.back()) return Finding::kHarmless;
    const bool is_known =
        std::find(whole.dumps.begin(), whole.dumps.end(), dump) != whole.dumps.end();
    return is_known ? Finding::kRolledBack : Finding::kHalf;
  }
  WorkWith(path, SqliteKind(), kWriterSeed, 2 * kSteps);
  const std::vector<std::string> wrong = FindWrong(whole.answers, found);
  if (the_case.is_checked && HasWrongBeyondItsRows(wrong, whole, the_case.damage)) {
    return Finding::kWrongSeen;
  }
  if (!wrong.empty()) return Finding::kWrong;
  return found.errors > 0 ? Finding::kErrors : Finding::kHarmless;
}

class Damages {
 public:
  explicit Damages(const CampaignOptions& options) : options_(options), dice_(options.seed) {}

  CampaignReport Run() {
    for (std::int64_t run = 0; run < options_.runs; ++run) {
      DamageOnce(run);
      if (report_.violations.size() >= kViolationsMax) break;
    }
    report_.extras = {{"not_opened", counts_[Finding::kRefused]},
                      {"errors", counts_[Finding::kErrors]},
                      {"harmless", counts_[Finding::kHarmless]},
                      {"rolled_back", counts_[Finding::kRolledBack]},
                      {"undetected", counts_[Finding::kWrong]},
                      {"undetected_checked", undetected_checked_},
                      {"checked", checked_}};
    return std::move(report_);
  }

 private:
  void DamageOnce(std::int64_t run) {
    Case the_case{.is_wal = dice_.OneIn(4), .is_checked = run % 2 == 1, .damage = {}};
    FileContents files = the_case.is_wal ? whole_.died : whole_.closed;
    the_case.damage = DamageFile(files[the_case.is_wal ? "-wal" : ""], dice_);
    std::filesystem::remove_all(life_);
    std::filesystem::create_directory(life_);
    for (const auto& [suffix, content] : files) WriteFile(path_ + suffix, content);
    const int status = RunApart([&] { return static_cast<int>(Judge(whole_, path_, the_case)); });
    const auto finding = static_cast<Finding>(WIFEXITED(status) ? WEXITSTATUS(status) : 0);
    ++counts_[finding];
    if (the_case.is_checked && !the_case.is_wal) ++checked_;
    if (the_case.is_checked && finding == Finding::kWrong) ++undetected_checked_;
    std::string wrong;
    if (!WIFEXITED(status)) wrong = absl::StrCat("killed by signal ", WTERMSIG(status));
    if (finding == Finding::kHalf) wrong = "half a transaction";
    if (finding == Finding::kEmpty) wrong = "begun anew";
    if (finding == Finding::kWrongSeen) wrong = "a wrong answer that the check can see";
    if (WIFEXITED(status) && WEXITSTATUS(status) < 10) wrong = "it could not be judged";
    if (wrong.empty()) return;
    report_.lost += finding == Finding::kHalf || finding == Finding::kEmpty ? 1 : 0;
    report_.duplicate_effects += finding == Finding::kWrongSeen ? 1 : 0;
    report_.violations.push_back(absl::StrCat(wrong, ": ", the_case.Describe(), " (run ", run,
                                              ", --seed ", options_.seed, ")"));
  }

  const CampaignOptions options_;
  Dice dice_;
  const Template whole_ = MakeTemplate();
  const testing::ScratchFolder folder_;
  const std::string life_ = folder_.File("life");
  const std::string path_ = life_ + "/store.db";
  CampaignReport report_;
  std::map<Finding, std::int64_t> counts_;
  std::int64_t undetected_checked_ = 0;
  std::int64_t checked_ = 0;
};

CampaignReport Run(const CampaignOptions& options) { return Damages(options).Run(); }

}  // namespace

Campaign CorruptionCampaign() {
  return {.name = "corruption",
          .what = "flipped bytes and cuts in the files of an SQLite store",
          .runs = 1'000,
          .quick_runs = 30,
          .needs_broker = false,
          .run = &Run};
}

}  // namespace once::campaign
