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
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/sqlite/store.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/store_writer.h"
#include "tests/scratch_folder.h"

namespace once::campaign {
namespace {

constexpr std::int64_t kSteps = 40 * kStepsPerBlock;
constexpr std::int64_t kStepsInWal = 13;  // none of them opens the store again
constexpr std::int64_t kPageBytes = 4096;
constexpr unsigned kSecondsMax = 60;
constexpr std::size_t kViolationsMax = 5;
constexpr std::uint64_t kWriterSeed = 9;  // whose -wal is not moved to the database by itself

std::string ReadFile(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

void WriteFile(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

// Everything a store answers about what it has recorded, one line each; and how often it answers
// with an error instead.
struct Answers {
  std::map<std::string, std::string> lines;
  std::int64_t errors = 0;
};

// What to ask for: (id, whether a transaction or a claim recorded it) of every step.
std::vector<std::string> IdsOf(std::int64_t steps) {
  std::vector<std::string> ids;
  for (std::int64_t step = 0; step < steps; ++step) {
    for (int i = 0; i < 6; ++i) ids.push_back(absl::StrCat("id-", step, "-", i));
    if (step % kStepsPerBlock >= 4) continue;
    ids.push_back(absl::StrCat("claimed-", step / kStepsPerBlock, "-", step % kStepsPerBlock));
  }
  return ids;
}

void AskForIds(TransactionalStore& store, Answers& answers) {
  for (const std::string& id : IdsOf(kSteps)) {
    // Each in a transaction of its own: after an error nothing more can be asked.
    const auto begun = store.Begin({});
    const IdKey key{"scope", id};
    IdRecord record;
    if (!begun.ok() || !begun->transaction->FindIds({&key, 1}, {&record, 1}).ok()) {
      ++answers.errors;
      continue;
    }
    answers.lines[id] = absl::StrCat(ToAbsl(ToString(record.state)), " ", record.attempt, " ",
                                     record.fingerprint.high, " ", record.fingerprint.low);
  }
}

Answers AskForAll(DedupStore& store) {
  Answers answers;
  AskForIds(*store.transactions(), answers);
  const PartitionKey key{.cluster = "cluster", .group = "group", .partition = {"orders", 0}};
  const auto stamps = store.transactions()->ReadPositions({&key, 1});
  if (!stamps.ok()) ++answers.errors;
  if (stamps.ok()) {
    answers.lines["position"] =
        stamps->front() ? absl::StrCat(stamps->front()->position) : std::string("none");
  }
  const auto pending = store.transactions()->outbox().FindPending(100'000);
  if (!pending.ok()) ++answers.errors;
  for (std::size_t i = 0; pending.ok() && i < pending->size(); ++i) {
    const OutgoingMessage& message = (*pending)[i].message;
    answers.lines["letter " + message.key.value_or("none")] =
        absl::StrCat(message.topic, " ", message.value.value_or("none"));
  }
  return answers;
}

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
  made.answers = AskForAll(**store);
  return made;
}

struct Damage {
  std::string what;  // for people
  // Places of single bytes; empty: whole pages, sectors or the end.
  std::vector<std::int64_t> flips = {};
};

Damage DamageFile(std::string& content, Dice& dice) {
  const auto size = static_cast<std::int64_t>(content.size());
  const std::int64_t pages = size / kPageBytes;
  const auto page = [&] { return static_cast<std::size_t>(dice.Below(pages) * kPageBytes); };
  switch (dice.Below(8)) {
    case 0: {
      const std::int64_t kept = dice.Below(size);
      content.resize(static_cast<std::size_t>(kept));
      return {absl::StrCat("cut to ", kept, " bytes")};
    }
    case 1: {
      const std::size_t at = page();
      content.replace(at, kPageBytes, kPageBytes, '\0');
      return {absl::StrCat("a page at ", at, " zeroed")};
    }
    case 2: {
      const std::size_t from = page();
      const std::size_t to = page();
      content.replace(to, kPageBytes, content.substr(from, kPageBytes));
      return {absl::StrCat("the page at ", to, " overwritten by that at ", from)};
    }
    case 3: {
      const std::size_t at = page() + 512 * static_cast<std::size_t>(dice.Below(8));
      for (std::size_t i = at; i < at + 512; ++i) content[i] = static_cast<char>(dice.Next());
      return {absl::StrCat("a sector at ", at, " full of noise")};
    }
    default: {
      const std::int64_t count = 1 + dice.Below(dice.OneIn(2) ? 1 : 8);
      Damage damage{"flipped bits of bytes"};
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t at = dice.Below(size);
        content[static_cast<std::size_t>(at)] ^= static_cast<char>(1 + dice.Below(255));
        absl::StrAppend(&damage.what, " ", at);
        damage.flips.push_back(at);
      }
      return damage;
    }
  }
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

// The questions whose answers are not what they should be, without an error.
std::vector<std::string> FindWrong(const Answers& right, const Answers& found) {
  std::vector<std::string> wrong;
  for (const auto& [question, answer] : right.lines) {
    const auto at = found.lines.find(question);
    const bool is_wrong = at == found.lines.end() ? found.errors == 0 : at->second != answer;
    if (is_wrong) wrong.push_back(question);
  }
  return wrong;
}

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

bool IsEmpty(const Answers& found) {
  const bool has_any = std::any_of(found.lines.begin(), found.lines.end(), [](const auto& line) {
    return line.first.starts_with("id-") && !line.second.starts_with("absent");
  });
  return !has_any && found.errors == 0;
}

void WorkWith(const std::string& path) {
  StoreWriter writer(path, kWriterSeed);
  if (!writer.Open().ok()) return;
  for (std::int64_t step = 2 * kSteps; step < 2 * kSteps + kStepsPerBlock; ++step) {
    if (!writer.Do(step).ok()) return;
  }
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
  const Answers found = AskForAll(**store);
  if (IsEmpty(found)) return Finding::kEmpty;
  *store = nullptr;
  if (the_case.is_wal) {
    const auto dump = DumpStore(path);
    WorkWith(path);
    if (dump == whole.dumps.back()) return Finding::kHarmless;
    const bool is_known =
        std::find(whole.dumps.begin(), whole.dumps.end(), dump) != whole.dumps.end();
    return is_known ? Finding::kRolledBack : Finding::kHalf;
  }
  WorkWith(path);
  const std::vector<std::string> wrong = FindWrong(whole.answers, found);
  if (the_case.is_checked && HasWrongBeyondItsRows(wrong, whole, the_case.damage)) {
    return Finding::kWrongSeen;
  }
  if (!wrong.empty()) return Finding::kWrong;
  return found.errors > 0 ? Finding::kErrors : Finding::kHarmless;
}

// In a process of its own: whatever happens there is seen from here. Its wait status.
int RunApart(const std::function<Finding()>& judge) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(kSecondsMax);
    _exit(static_cast<int>(judge()));
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
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
    const int status = RunApart([&] { return Judge(whole_, path_, the_case); });
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
