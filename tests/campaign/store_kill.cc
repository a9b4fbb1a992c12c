// Lives, their ends, and what is left of their steps.
#include "tests/campaign/store_kill.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "src/test_hooks.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/seal_soon.h"
#include "tests/campaign/store_writer.h"
#include "tests/integration/child.h"
#include "tests/scratch_folder.h"

namespace once::campaign {
namespace {

constexpr std::int64_t kKillsPerStore = 50;
constexpr std::int64_t kStepsPerLife = 10 * kStepsPerBlock;
constexpr std::size_t kViolationsMax = 5;
// Above this, a kill point that was never reached is a gap in the campaign.
constexpr std::int64_t kKillsForEveryPoint = 500;
constexpr absl::Duration kPatience = absl::Seconds(60);

// One byte on each: the parent counts the one, and waits for the other.
void Acknowledge(int file) {
  const char byte = '.';
  if (write(file, &byte, 1) != 1 || write(testing::kProgressPipe, &byte, 1) != 1) _exit(3);
}

}  // namespace

int WriteUntilKilled(const StoreKind& kind, const Json& task) {
  const int acknowledgements = open(task.at("acknowledgements").get<std::string>().c_str(),
                                    O_WRONLY | O_APPEND | O_CREAT, 0600);
  Disk disk;  // the page cache outlives the process: no sync need be a real one
  SealSoon();
  const std::unique_ptr<Mischief> mischief = kind.MakeMischief();
  StoreWriter writer(task.at("path"), task.at("seed"), kind);
  if (const absl::Status opened = writer.Open(); !opened.ok()) {
    Say(opened.ToString());
    return 1;
  }
  Acknowledge(acknowledgements);
  const std::int64_t first = task.at("first");
  for (std::int64_t step = first; step < first + kStepsPerLife; ++step) {
    const bool may_fail =
        mischief != nullptr && mischief->Begin(task.at("path"), writer.store(), step);
    absl::Status done = writer.Do(step);
    if (mischief != nullptr) mischief->End();
    // Nothing was written then.
    if (may_fail && !done.ok()) {
      done = writer.TakeRow();
      if (done.ok()) done = writer.Do(step);
    }
    if (!done.ok()) {
      Say(writer.Describe(step) + ": " + done.ToString());
      return 1;
    }
    Acknowledge(acknowledgements);
  }
  return 0;
}

namespace {

std::vector<std::string> PointsOf(const StoreKind& kind) {
  const std::string prefix = absl::StrCat(std::string(kind.name()), ".");
  std::vector<std::string> points;
  for (const std::string& point : test_hooks::KillPoints()) {
    if (point.starts_with(prefix)) points.push_back(point);
  }
  return points;
}

// When a life ends.
struct Moment {
  std::string point;  // a kill point and its turn; empty: by the clock
  int beats = 0;
  absl::Duration pause;

  std::string Describe() const {
    return point.empty() ? absl::StrCat(beats, " acknowledgements and ",
                                        absl::FormatDuration(pause), " after its beginning")
                         : "at " + point;
  }
};

// One store that is killed over and over, and the one that is not.
class KilledStore {
 public:
  KilledStore(const char* campaign, const StoreKind& kind, std::uint64_t seed)
      : campaign_(campaign),
        seed_(seed),
        survivor_(folder_.File("killed.db"), seed, kind),
        peer_(folder_.File("peer.db"), seed, kind) {}

  // The wait status of the life.
  int LiveAndDie(const Moment& moment) {
    std::filesystem::remove(Acknowledgements());
    testing::Environment environment;
    if (!moment.point.empty()) environment.emplace_back("ONCE_KILL_AT", moment.point);
    testing::Child child({campaign_, Json{{"path", folder_.File("killed.db")},
                                          {"seed", seed_},
                                          {"first", next_},
                                          {"acknowledgements", Acknowledgements()}}
                                         .dump()},
                         environment);
    if (!moment.point.empty()) {
      const std::optional<int> status = child.AwaitEnd(kPatience);
      if (!status) throw std::runtime_error("a life does not end");
      return *status;
    }
    child.WaitForBeats(moment.beats, kPatience);
    absl::SleepFor(moment.pause);
    return child.End(SIGKILL);
  }

  // What is wrong; empty: nothing.
  std::string Check() {
    std::error_code none;
    const auto answered =
        static_cast<std::int64_t>(std::filesystem::file_size(Acknowledgements(), none));
    const std::int64_t done = none || answered == 0 ? 0 : answered - 1;
    std::string wrong = RunPeer(done);
    if (wrong.empty()) wrong = Compare(next_ + done, !none && answered > 0);
    next_ = (next_ + done + kStepsPerBlock) / kStepsPerBlock * kStepsPerBlock;
    steps_ += done;
    return wrong;
  }

  std::int64_t steps() const { return steps_; }
  std::int64_t in_flight_applied() const { return in_flight_applied_; }
  // Rows of acknowledged steps that were not there, and effects that were there and not theirs.
  std::int64_t lost() const { return lost_; }
  std::int64_t surplus() const { return surplus_; }

 private:
  std::string Acknowledgements() const { return folder_.File("acknowledged"); }

  // Opened anew like the other: the claims of the life before are over.
  std::string RunPeer(std::int64_t steps) {
    absl::Status status = peer_.Open();
    for (std::int64_t step = next_; step < next_ + steps && status.ok(); ++step) {
      status = peer_.Do(step);
    }
    return status.ok() ? "" : "the peer: " + status.ToString();
  }

  std::string Compare(std::int64_t in_flight, bool has_begun) {
    if (const absl::Status opened = survivor_.Open(); !opened.ok()) {
      return "it does not open: " + opened.ToString();
    }
    const std::vector<std::string> found = survivor_.Dump(in_flight + 1);
    survivor_.Close();
    const std::vector<std::string> acknowledged = peer_.Dump(in_flight + 1);
    if (found == acknowledged) return "";
    if (has_begun) {
      if (const absl::Status done = peer_.Do(in_flight); !done.ok()) {
        return "the peer: " + done.ToString();
      }
      ++in_flight_applied_;
      if (found == peer_.Dump(in_flight + 1)) return "";
    }
    lost_ = CountMissing(acknowledged, found, "");
    surplus_ = CountMissing(found, acknowledged, "effects ");
    return absl::StrCat("in flight was ", survivor_.Describe(in_flight),
                        DescribeDifference(acknowledged, found));
  }

  const std::string campaign_;
  const std::uint64_t seed_;
  const testing::ScratchFolder folder_;
  StoreWriter survivor_;
  StoreWriter peer_;
  std::int64_t next_ = 0;  // the first step of the next life
  std::int64_t steps_ = 0;
  std::int64_t in_flight_applied_ = 0;
  std::int64_t lost_ = 0;
  std::int64_t surplus_ = 0;
};

Moment Draw(Dice& dice, const std::vector<std::string>& points) {
  if (dice.OneIn(3) && !points.empty()) {
    const auto point = static_cast<std::size_t>(dice.Below(static_cast<int>(points.size())));
    return {.point = absl::StrCat(points[point], ":", 1 + dice.Below(dice.OneIn(2) ? 3 : 40))};
  }
  Moment moment{.beats = static_cast<int>(dice.Below(40))};
  constexpr std::int64_t kPauses[] = {1, 100, 1'000, 10'000};
  moment.pause = absl::Microseconds(dice.Below(kPauses[dice.Below(4)]));
  return moment;
}

class StoreKills {
 public:
  StoreKills(const char* campaign, const StoreKind& kind, const CampaignOptions& options)
      : campaign_(campaign),
        kind_(kind),
        options_(options),
        dice_(options.seed),
        points_(PointsOf(kind)) {
    for (const std::string& point : points_) hits_[point] = 0;
  }

  CampaignReport Run() {
    const std::int64_t lives_max = 10 * options_.runs + kKillsPerStore;
    while (kills_ < options_.runs && report_.violations.size() < kViolationsMax) {
      if (lives_ == lives_max) {
        Complain("nearly every life ends before it can be killed");
        break;
      }
      Live();
    }
    for (const auto& [point, count] : hits_) {
      if (count == 0 && options_.runs >= kKillsForEveryPoint) Complain("no life ended at " + point);
    }
    report_.extras = {{"kills", kills_},
                      {"lives", lives_},
                      {"in_flight_applied", in_flight_applied_},
                      {"kill_points", hits_}};
    return std::move(report_);
  }

 private:
  void Complain(const std::string& what) {
    report_.violations.push_back(
        absl::StrCat("kill ", kills_, " (--seed ", options_.seed, "): ", what));
  }

  // One life, which counts as a kill only when it was one: a life may end before its moment comes.
  void Live() {
    if (lives_++ % kKillsPerStore == 0 || store_ == nullptr) {
      store_ = std::make_unique<KilledStore>(campaign_, kind_, dice_.Next());
    }
    const Moment moment = Draw(dice_, points_);
    const std::int64_t steps = store_->steps();
    const std::int64_t applied = store_->in_flight_applied();
    CountEnd(moment, store_->LiveAndDie(moment));
    if (const std::string wrong = store_->Check(); !wrong.empty()) {
      report_.lost += store_->lost();
      report_.duplicate_effects += store_->surplus();
      Complain(moment.Describe() + ": " + wrong);
      store_ = nullptr;
      return;
    }
    report_.messages += store_->steps() - steps;
    in_flight_applied_ += store_->in_flight_applied() - applied;
  }

  void CountEnd(const Moment& moment, int status) {
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
      if (++kills_ % kKillsPerStore == 0)
        Say(absl::StrCat(kills_, " of ", options_.runs, " kills"));
      if (!moment.point.empty()) ++hits_[moment.point.substr(0, moment.point.find(':'))];
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      Complain(absl::StrCat("a life ended with wait status ", status));
    }
  }

  const char* const campaign_;
  const StoreKind& kind_;
  const CampaignOptions options_;
  const Disk disk_;  // of this process only: it need not wait for any real sync
  Dice dice_;
  const std::vector<std::string> points_;
  std::map<std::string, std::int64_t> hits_;
  std::unique_ptr<KilledStore> store_;
  CampaignReport report_;
  std::int64_t kills_ = 0;
  std::int64_t lives_ = 0;
  std::int64_t in_flight_applied_ = 0;
};

}  // namespace

CampaignReport RunStoreKills(const char* campaign, const StoreKind& kind,
                             const CampaignOptions& options) {
  return StoreKills(campaign, kind, options).Run();
}

}  // namespace once::campaign
