// rocksdb-corruption: one file of a RocksDB store's folder is cut, zeroed, overwritten, filled with
// noise, flipped, exchanged with another or removed while nobody has it open; then the store is
// opened, asked for everything that was recorded, verified, and worked with. It must not crash, nor
// hang, nor begin anew. RocksDB keeps checksums of everything, so no answer may be wrong without an
// error: `undetected` counts those that are. Damage to the log may cost the newest transactions as
// a whole, as a power failure does, and nothing else.
#include <sys/wait.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <stdexcept>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "adapters/rocksdb/database.h"
#include "once/rocksdb/store.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/damage.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/store_writer.h"
#include "tests/scratch_folder.h"

namespace once::campaign {
namespace {

constexpr std::int64_t kSteps = 24 * kStepsPerBlock;
constexpr std::int64_t kStepsInLog = 29;  // none of them opens the store again
constexpr std::size_t kViolationsMax = 5;
// Of small write buffers, and of large effects in those last steps: files come and go meanwhile.
constexpr std::uint64_t kWriterSeed = 220;
constexpr const char* kStoreName = "store";
constexpr const char* kEffects = "effects";

// A store's folder and its lock file, and what is right to answer of it.
struct Whole {
  FileContents files;  // by path from the folder around the store
  std::string store_id;
  // After each of the steps whose transactions may lie in the log; the last is what is recorded.
  std::vector<Answers> answers;
};

void Require(const absl::Status& status) {
  if (!status.ok()) throw std::runtime_error("rocksdb-corruption: " + status.ToString());
}

FileContents ReadFolder(const std::string& folder) {
  FileContents files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string path = entry.path().string();
    if (entry.is_regular_file()) files[path.substr(folder.size() + 1)] = ReadFile(path);
  }
  return files;
}

void WriteFolder(const std::string& folder, const FileContents& files) {
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder + "/" + kStoreName);
  for (const auto& [path, content] : files) WriteFile(folder + "/" + path, content);
}

// What a process would leave that died now: twice the same, or a background task came in between.
FileContents ReadQuietFolder(const std::string& folder) {
  for (;;) {
    FileContents files = ReadFolder(folder);
    if (files == ReadFolder(folder)) return files;
  }
}

absl::StatusOr<std::shared_ptr<DedupStore>> Open(const std::string& path, bool is_checked) {
  return rocksdb::OpenStore({.path = path,
                             .tables = {kEffects},
                             .integrity_check = is_checked,
                             .cache_bytes = 1024 * 1024,
                             .serve_operators = false,
                             .now = StandingClock});
}

Answers Ask(DedupStore& store) {
  Answers answers = AskForAll(store, StoreWriter::IdsOf(kSteps + kStepsInLog));
  const absl::Status read =
      rocksdb::ForEachCommitted(store, kEffects, [&](std::string_view id, std::string_view body) {
        answers.lines[absl::StrCat("effect of ", std::string(id))] = absl::StrCat(body.size());
        return true;
      });
  if (!read.ok()) ++answers.errors;
  return answers;
}

void MakeWholes(const std::string& folder) {
  const std::string life = folder + "/life";
  const std::string copy = folder + "/copy";
  std::filesystem::create_directory(life);
  StoreWriter writer(life + "/" + kStoreName, kWriterSeed, RocksdbKind());
  Require(writer.Open());
  for (std::int64_t step = 0; step < kSteps; ++step) Require(writer.Do(step));
  Require(writer.Open());
  Json answers = Json::array();
  FileContents died;
  const auto remember = [&] {
    died = ReadQuietFolder(life);
    WriteFolder(copy, died);
    const auto store = Open(copy + "/" + kStoreName, /*is_checked=*/true);
    Require(store.status());
    answers.push_back(Ask(**store).lines);
  };
  remember();
  for (std::int64_t step = kSteps; step < kSteps + kStepsInLog; ++step) {
    Require(writer.Do(step));
    remember();
  }
  writer.Close();
  const auto store = Open(copy + "/" + kStoreName, /*is_checked=*/false);
  Require(store.status());
  WriteFolder(folder + "/died", died);
  WriteFolder(folder + "/closed", ReadFolder(life));
  WriteFile(folder + "/answers", Json{{"id", (*store)->traits().id}, {"answers", answers}}.dump());
}

// By how it ended: died, closed.
std::vector<Whole> MakeWholesApart() {
  const testing::ScratchFolder folder;
  // RocksDB's threads do not survive a fork, so this process never opens a store.
  const int status = RunApart([&] {
    MakeWholes(folder.path());
    return 0;
  });
  if (status != 0) throw std::runtime_error(absl::StrCat("no store to damage, status ", status));
  const Json made = Json::parse(ReadFile(folder.File("answers")));
  std::vector<Whole> wholes;
  for (const char* end : {"died", "closed"}) {
    Whole whole{.files = ReadFolder(folder.File(end)), .store_id = made["id"], .answers = {}};
    for (const Json& lines : made["answers"]) whole.answers.push_back({.lines = lines});
    wholes.push_back(std::move(whole));
  }
  return wholes;
}

enum class FileKind { kTable, kLog, kManifest, kOther };

FileKind KindOf(const std::string& path) {
  if (path.ends_with(".sst")) return FileKind::kTable;
  if (path.ends_with(".log")) return FileKind::kLog;
  return absl::StrContains(path, "/MANIFEST-") ? FileKind::kManifest : FileKind::kOther;
}

const char* NameOf(FileKind kind) {
  switch (kind) {
    case FileKind::kTable:
      return "tables";
    case FileKind::kLog:
      return "logs";
    case FileKind::kManifest:
      return "manifests";
    case FileKind::kOther:
      break;
  }
  return "others";
}

// How a store is damaged, and how it is opened.
struct Case {
  bool is_checked = false;
  FileKind kind = FileKind::kOther;
  bool is_log = false;  // among what is damaged
  std::string what;

  std::string Describe() const { return absl::StrCat(what, is_checked ? ", integrity_check" : ""); }
};

// What a process found out about one damaged store; it tells by its exit code.
enum class Finding : int {
  kRefused = 10,     // the store does not open
  kErrors = 11,      // some answers are errors, the others right
  kHarmless = 12,    // all answers are right
  kRolledBack = 13,  // damage to the log, and the answers of an earlier moment
  kWrong = 14,       // a wrong answer, without an error
  kHalf = 15,        // damage to the log, and the answers of no moment
  kEmpty = 16,       // a store, but nothing in it, or another one
  kUnseen = 17,      // an answer is an error, and Verify() finds nothing
  kWrongLater = 18,  // a wrong answer after more work
};

bool Agrees(const Answers& right, const Answers& found) {
  return FindWrong(right, found).empty() &&
         std::all_of(found.lines.begin(), found.lines.end(),
                     [&](const auto& line) { return right.lines.contains(line.first); });
}

// Of what no later work changes.
bool IsLasting(const std::string& question) {
  return question.starts_with("id-") || question.starts_with("effect ");
}

Finding JudgeAnswers(const Whole& whole, const Case& the_case, const Answers& found) {
  if (Agrees(whole.answers.back(), found)) {
    return found.errors > 0 ? Finding::kErrors : Finding::kHarmless;
  }
  if (!the_case.is_log) return Finding::kWrong;
  const bool is_known = std::any_of(whole.answers.begin(), whole.answers.end(),
                                    [&](const Answers& earlier) { return Agrees(earlier, found); });
  return is_known ? Finding::kRolledBack : Finding::kHalf;
}

// The first few answers that are not those of the last step.
void SayWrong(const Answers& right, const Answers& found) {
  constexpr std::size_t kShown = 3;
  std::vector<std::string> wrong = FindWrong(right, found);
  for (const auto& [question, answer] : found.lines) {
    if (!right.lines.contains(question)) wrong.push_back(question);
  }
  for (std::size_t i = 0; i < std::min(kShown, wrong.size()); ++i) {
    const auto answer = found.lines.find(wrong[i]);
    Say(absl::StrCat("  ", wrong[i], ": ", answer == found.lines.end() ? "none" : answer->second));
  }
}

Finding Judge(const Whole& whole, const std::string& path, const Case& the_case) {
  auto store = Open(path, the_case.is_checked);
  if (!store.ok()) return Finding::kRefused;
  if ((*store)->traits().id != whole.store_id) return Finding::kEmpty;
  const Answers found = Ask(**store);
  if (IsEmpty(found)) return Finding::kEmpty;
  const auto verified = (*store)->maintenance()->Verify({});
  *store = nullptr;
  const Finding finding = JudgeAnswers(whole, the_case, found);
  if (finding == Finding::kWrong || finding == Finding::kHalf) {
    SayWrong(whole.answers.back(), found);
    return finding;
  }
  if (found.errors > 0 && verified.ok() && verified->empty()) return Finding::kUnseen;
  WorkWith(path, RocksdbKind(), kWriterSeed, 2 * kSteps);
  store = Open(path, the_case.is_checked);
  if (!store.ok()) return finding;
  const Answers later = Ask(**store);
  const bool is_same = std::all_of(found.lines.begin(), found.lines.end(), [&](const auto& line) {
    const auto at = later.lines.find(line.first);
    if (!IsLasting(line.first)) return true;
    return at == later.lines.end() ? later.errors > 0 : at->second == line.second;
  });
  return is_same ? finding : Finding::kWrongLater;
}

const char* WrongOf(Finding finding) {
  switch (finding) {
    case Finding::kWrong:
      return "a wrong answer without an error";
    case Finding::kHalf:
      return "half a transaction";
    case Finding::kEmpty:
      return "begun anew";
    case Finding::kUnseen:
      return "an error where Verify() finds nothing";
    case Finding::kWrongLater:
      return "a wrong answer after more work";
    default:
      return "";
  }
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
                      {"undetected", counts_[Finding::kWrong] + counts_[Finding::kHalf] +
                                         counts_[Finding::kWrongLater]},
                      {"damaged", damaged_}};
    return std::move(report_);
  }

 private:
  std::string DrawFile(const FileContents& files, FileKind kind) {
    std::vector<std::string> paths;
    for (const auto& [path, content] : files) {
      if (KindOf(path) == kind && !content.empty()) paths.push_back(path);
    }
    if (paths.empty()) throw std::runtime_error(absl::StrCat("there are no ", NameOf(kind)));
    return paths[static_cast<std::size_t>(dice_.Below(static_cast<std::int64_t>(paths.size())))];
  }

  FileKind DrawKind() {
    static constexpr FileKind kKinds[] = {FileKind::kTable,    FileKind::kTable, FileKind::kTable,
                                          FileKind::kTable,    FileKind::kLog,   FileKind::kLog,
                                          FileKind::kManifest, FileKind::kOther};
    return kKinds[dice_.Below(std::size(kKinds))];
  }

  Case DamageOneOf(FileContents& files) {
    Case drawn{.kind = DrawKind()};
    const std::string path = DrawFile(files, drawn.kind);
    drawn.is_log = drawn.kind == FileKind::kLog;
    switch (dice_.Below(8)) {
      case 0:
        files.erase(path);
        drawn.what = path + ": removed";
        return drawn;
      case 1: {
        const FileKind kind = DrawKind();
        const std::string other = DrawFile(files, kind);
        drawn.is_log = drawn.is_log || kind == FileKind::kLog;
        std::swap(files[path], files[other]);
        drawn.what = absl::StrCat(path, ": exchanged with ", other);
        return drawn;
      }
      default:
        drawn.what = absl::StrCat(path, ": ", DamageFile(files[path], dice_).what);
        return drawn;
    }
  }

  void DamageOnce(std::int64_t run) {
    const Whole& whole = wholes_[static_cast<std::size_t>(dice_.Below(2))];
    FileContents files = whole.files;
    Case the_case = DamageOneOf(files);
    the_case.is_checked = run % 2 == 1;
    WriteFolder(life_, files);
    const int status = RunApart(
        [&] { return static_cast<int>(Judge(whole, life_ + "/" + kStoreName, the_case)); });
    const auto finding = static_cast<Finding>(WIFEXITED(status) ? WEXITSTATUS(status) : 0);
    ++counts_[finding];
    ++damaged_[NameOf(the_case.kind)];
    std::string wrong = WrongOf(finding);
    if (!WIFEXITED(status)) wrong = absl::StrCat("killed by signal ", WTERMSIG(status));
    if (WIFEXITED(status) && WEXITSTATUS(status) < 10) wrong = "it could not be judged";
    if (wrong.empty()) return;
    if (finding == Finding::kWrong || finding == Finding::kHalf || finding == Finding::kEmpty) {
      ++report_.lost;
    }
    report_.violations.push_back(absl::StrCat(wrong, ": ", the_case.Describe(), " (run ", run,
                                              ", --seed ", options_.seed, ")"));
  }

  const CampaignOptions options_;
  Dice dice_;
  const std::vector<Whole> wholes_ = MakeWholesApart();
  const testing::ScratchFolder folder_;
  const std::string life_ = folder_.File("life");
  CampaignReport report_;
  std::map<Finding, std::int64_t> counts_;
  std::map<std::string, std::int64_t> damaged_;
};

CampaignReport Run(const CampaignOptions& options) {
  KeepRocksdbIdsInSmallFiles();
  CampaignReport report = Damages(options).Run();
  rocksdb::SetIdLogOptionsForTest(std::nullopt);
  return report;
}

}  // namespace

Campaign RocksdbCorruptionCampaign() {
  return {.name = "rocksdb-corruption",
          .what = "cuts, flipped bytes and exchanged files in the folder of a RocksDB store",
          .runs = 1'000,
          .quick_runs = 30,
          .needs_broker = false,
          .run = &Run};
}

}  // namespace once::campaign
