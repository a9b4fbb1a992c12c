// Which executions are played: none, one and two faults by enumeration, more by seeds.
#include "once/testing/crash_test.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/testing/crash_execution.h"

namespace once::testing {
namespace {

// Two, so that after one fault the questions about a second one are still asked and counted.
constexpr Budget kBudget = {.faults = 2};
constexpr Budget kSeededBudget = {.faults = 4};
constexpr int kSeededFaultRate = 25;
constexpr int kPartitionsMax = 16;

// One answer that is not 0.
struct Deviation {
  std::size_t question = 0;
  int answer = 0;
};

// Deviates where the plan says, and remembers what was asked.
class PlannedOracle : public Oracle {
 public:
  struct Question {
    std::size_t tag = 0;  // hash
    int choices = 1;
    bool is_fault = false;
    friend bool operator==(const Question&, const Question&) = default;
  };

  explicit PlannedOracle(std::vector<Deviation> plan) : Oracle(kBudget), plan_(std::move(plan)) {}
  const std::vector<Question>& questions() const { return questions_; }

 protected:
  int Pick(std::string_view tag, int choices, Cost cost) override {
    const std::size_t number = questions_.size();
    questions_.push_back({.tag = std::hash<std::string_view>()(tag),
                          .choices = choices,
                          .is_fault = cost == Cost::kFault});
    for (const Deviation& one : plan_) {
      if (one.question == number) return std::min(one.answer, choices - 1);
    }
    return 0;
  }

 private:
  std::vector<Deviation> plan_;
  std::vector<Question> questions_;
};
using Questions = std::vector<PlannedOracle::Question>;

// Every single deviation after the first `from` questions.
std::vector<Deviation> FaultsAfter(const Questions& questions, std::size_t from) {
  std::vector<Deviation> faults;
  for (std::size_t number = from; number < questions.size(); ++number) {
    if (!questions[number].is_fault) continue;
    for (int answer = 1; answer < questions[number].choices; ++answer) {
      faults.push_back({.question = number, .answer = answer});
    }
  }
  return faults;
}

class CrashSearch {
 public:
  CrashSearch(const CrashTest& test, std::string folder)
      : test_(test), folder_(std::move(folder)) {}

  CrashReport Run();

 private:
  struct Single {
    Deviation fault;
    Questions questions;
  };

  // Plays one execution; false when the test cannot go on.
  bool Play(Oracle& oracle);
  bool PlayPlan(std::vector<Deviation> plan, const Questions* expected, Questions* asked);
  void Count(const CrashResult& result);
  bool PlaySingles();
  bool PlayPairs();
  bool PlaySeeds();
  void PlayReplay();

  const CrashTest& test_;
  const std::string folder_;
  CrashReport report_;
  std::map<std::string, CrashPoint> points_;
  std::set<std::string> reached_;
  std::vector<Single> singles_;
};

void CrashSearch::Count(const CrashResult& result) {
  ++report_.executions;
  report_.announced_repeats += result.announced_repeats;
  reached_.insert(result.reached.begin(), result.reached.end());
  for (const std::string& name : result.struck) {
    CrashPoint& point = points_[name];
    point.name = name;
    ++point.hits;
    if (point.verdict == CrashVerdict::kFine) point.verdict = result.verdict;
  }
}

bool CrashSearch::Play(Oracle& oracle) {
  const auto play = [this](Oracle& by, bool is_recording) {
    CrashResult result;
    std::error_code code;
    const bool is_new = std::filesystem::create_directory(folder_, code);
    if (!code && !is_new && !std::filesystem::is_empty(folder_, code)) {
      std::filesystem::remove_all(folder_, code);
      std::filesystem::create_directory(folder_, code);
    }
    if (code) {
      result.error = absl::UnavailableError(absl::StrCat("folder ", folder_, ": ", code.message()));
      return result;
    }
    return CrashExecution(test_, folder_, by, is_recording).Run();
  };
  const CrashResult result = play(oracle, false);
  report_.error = result.error;
  if (!result.error.ok()) return false;
  Count(result);
  if (result.verdict == CrashVerdict::kFine || report_.witness.has_value()) return true;
  ReplayOracle again({.budget = oracle.budget(), .choices = oracle.choices()});
  CrashResult told = play(again, true);
  CrashWitness& witness = report_.witness.emplace();
  witness = {.verdict = result.verdict,
             .what = result.what,
             .faults = result.faults,
             .choices = oracle.ChoiceString(),
             .history = std::move(told.history)};
  if (told.verdict != result.verdict) {
    witness.what +=
        " (not reproduced by the same choices: what the handler, the store or the check "
        "does depends on something else, such as the time, or an earlier execution)";
  }
  return true;
}

bool CrashSearch::PlayPlan(std::vector<Deviation> plan, const Questions* expected,
                           Questions* asked) {
  const std::size_t common = plan.empty() ? 0 : plan.back().question;
  PlannedOracle oracle(std::move(plan));
  if (!Play(oracle)) return false;
  const Questions& questions = oracle.questions();
  const bool is_same =
      expected == nullptr ||
      (questions.size() >= common &&
       std::equal(expected->begin(), expected->begin() + static_cast<std::ptrdiff_t>(common),
                  questions.begin()));
  if (!is_same) {
    report_.error = absl::FailedPreconditionError(
        "two executions differ before their first fault: what the handler, the store or the check "
        "does must depend on the messages alone; something else, such as the time, random numbers "
        "or what an earlier execution left behind, has a say (`reset` makes the world anew)");
    return false;
  }
  if (asked != nullptr) *asked = questions;
  return true;
}

bool CrashSearch::PlaySingles() {
  Questions plain;
  // What is wrong without a fault is wrong everywhere.
  if (!PlayPlan({}, nullptr, &plain) || report_.witness.has_value()) return false;
  for (const Deviation& fault : FaultsAfter(plain, 0)) {
    Single& single = singles_.emplace_back(Single{.fault = fault});
    if (!PlayPlan({fault}, &plain, &single.questions)) return false;
    ++report_.singles;
  }
  return true;
}

bool CrashSearch::PlayPairs() {
  const auto seconds = [](const Single& single) {
    return FaultsAfter(single.questions, single.fault.question + 1);
  };
  for (const Single& single : singles_) {
    report_.pairs_possible += static_cast<std::int64_t>(seconds(single).size());
  }
  if (test_.pairs_max <= 0 || report_.pairs_possible == 0) return true;
  const std::int64_t wanted = std::min(test_.pairs_max, report_.pairs_possible);
  std::int64_t number = 0;
  for (const Single& single : singles_) {
    for (const Deviation& second : seconds(single)) {
      // Evenly spread: wanted of pairs_possible.
      const bool is_next = number * wanted / report_.pairs_possible !=
                           (number + 1) * wanted / report_.pairs_possible;
      ++number;
      if (!is_next) continue;
      if (!PlayPlan({single.fault, second}, &single.questions, nullptr)) return false;
      ++report_.pairs;
    }
  }
  return true;
}

bool CrashSearch::PlaySeeds() {
  for (std::int64_t seed = 1; seed <= test_.seeds; ++seed) {
    SeededOracle oracle(static_cast<std::uint64_t>(seed), kSeededBudget,
                        {.fault = kSeededFaultRate});
    if (!Play(oracle)) return false;
  }
  return true;
}

void CrashSearch::PlayReplay() {
  absl::StatusOr<ChoiceList> list = ParseChoices(test_.replay);
  if (!list.ok()) {
    report_.error = Annotate(list.status(), "CrashTest::replay");
    return;
  }
  ReplayOracle oracle(*std::move(list));
  Play(oracle);
}

CrashReport CrashSearch::Run() {
  report_.messages = static_cast<std::int64_t>(test_.messages.size());
  if (!test_.replay.empty()) {
    PlayReplay();
  } else if (PlaySingles() && !report_.witness.has_value()) {
    (void)(PlayPairs() && PlaySeeds());
  }
  for (auto& [name, point] : points_) report_.points.push_back(std::move(point));
  using enum Seam;
  std::vector<Seam> seams = {kPoll, kDescribe, kStart, kCommitHint, kClose, kPublish};
  const std::vector<Seam> own =
      test_.handler.is_plain()
          ? std::vector{kTryClaim, kBegun, kPlainHandler, kComplete, kFail, kDying, kKill, kSync}
          : std::vector{kTake,
                        kBegin,
                        kFindIds,
                        kHandler,
                        kPutIds,
                        kPutOutgoing,
                        kSetPositions,
                        kCommit,
                        kRollback,
                        kSetSavepoint,
                        kRollbackToSavepoint,
                        kMarkPublished};
  seams.insert(seams.end(), own.begin(), own.end());
  for (const Seam seam : seams) {
    if (!reached_.contains(std::string(ToString(seam)))) {
      report_.never_reached.emplace_back(ToString(seam));
    }
  }
  return std::move(report_);
}

absl::Status Validate(const CrashTest& test) {
  if (!test.open_store) return absl::InvalidArgumentError("CrashTest::open_store is missing");
  if (test.messages.empty()) {
    return absl::InvalidArgumentError("CrashTest::messages is empty: nothing would be tested");
  }
  for (const CrashMessage& message : test.messages) {
    if (message.partition >= 0 && message.partition < kPartitionsMax) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "CrashTest::messages: partition ", message.partition, " is not below ", kPartitionsMax));
  }
  return test.id.status();
}

// Hundreds of small worlds with a sync per commit: in memory where that can be had, since only
// processes die here. TMPDIR wins.
std::string ParentFolder() {
  constexpr char kMemory[] = "/dev/shm";
  std::error_code code;
  const std::string folder = std::filesystem::temp_directory_path(code).string();
  if (!code && std::getenv("TMPDIR") != nullptr) return folder;
  if (access(kMemory, W_OK | X_OK) == 0) return kMemory;
  return code ? "." : folder;
}

}  // namespace

CrashReport RunEveryCrash(const CrashTest& test) {
  CrashReport report;
  report.error = Validate(test);
  if (!report.error.ok()) return report;
  std::string scratch = ParentFolder() + "/once-crash-XXXXXX";
  if (mkdtemp(scratch.data()) == nullptr) {
    report.error = absl::UnavailableError(
        absl::StrCat("no folder can be made: ", scratch, "; TMPDIR names another place"));
    return report;
  }
  std::error_code code;
  const absl::Cleanup remove = [&] { std::filesystem::remove_all(scratch, code); };
  return CrashSearch(test, scratch + "/world").Run();
}

}  // namespace once::testing
