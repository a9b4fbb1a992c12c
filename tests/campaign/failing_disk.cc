// Troubles, one after the other.
#include "tests/campaign/failing_disk.h"

#include <sys/mount.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/scratch_folder.h"

namespace once::campaign {
namespace {

// Steps during which a lasting trouble goes on.
constexpr int kStepsOfTrouble = 60;
constexpr std::size_t kViolationsMax = 5;

constexpr std::array<Trouble, 4> kTroubles = {
    {{"one call fails", FailingWork::kAll, 1, false},
     {"syncs fail", FailingWork::kSyncs, 2, false},
     {"no space", FailingWork::kWrites, 1'000'000, true},
     {"nothing works", FailingWork::kAll, 1'000'000, false}}};

class Failures {
 public:
  Failures(const ConsumedStore& kind, FailingDisk& disk, const SmallFileSystem& small,
           const CampaignOptions& options)
      : kind_(kind), disk_(disk), small_(small), options_(options) {}

  CampaignReport Run() {
    std::int64_t points = 0;
    for (const HandlerKind handler : {HandlerKind::kTransactional, HandlerKind::kPlain}) {
      for (const Trouble& trouble : kTroubles) points += CountCalls(handler, trouble);
    }
    // Every call of every trouble, or as many as were asked for, evenly spread.
    const double stride =
        std::max(1.0, static_cast<double>(points) / static_cast<double>(options_.runs));
    double next = 0;
    std::int64_t point = 0;
    for (const HandlerKind handler : {HandlerKind::kTransactional, HandlerKind::kPlain}) {
      for (const Trouble& trouble : kTroubles) {
        const std::int64_t calls = CountCalls(handler, trouble);
        for (std::int64_t call = 1; call <= calls; ++call, ++point) {
          if (static_cast<double>(point) < next) continue;
          next += stride;
          FailAt(handler, trouble, call);
          if (report_.violations.size() >= kViolationsMax) return std::move(report_);
        }
      }
    }
    report_.extras = {{"points", points},
                      {"points_hit", hit_},
                      {"announced_reruns", reruns_},
                      {"small_file_system", ConsumeOnSmallFileSystem()}};
    return std::move(report_);
  }

 private:
  // Of that kind, in a life without trouble.
  std::int64_t CountCalls(HandlerKind handler, const Trouble& trouble) {
    const auto key = std::pair(handler, trouble.work);
    if (calls_.contains(key)) return calls_[key];
    const testing::ScratchFolder folder;
    disk_.Fail(trouble, 1'000'000'000);
    Consumption consumption(kind_, folder.File("store"), load_, handler);
    const std::string wrong = consumption.ConsumeAll([](int) {});
    const std::int64_t calls = disk_.calls();
    disk_.Mend();
    if (!wrong.empty()) report_.violations.push_back("without any trouble: " + wrong);
    return calls_[key] = calls;
  }

  void FailAt(HandlerKind handler, const Trouble& trouble, std::int64_t call) {
    disk_.Fail(trouble, call);
    const testing::ScratchFolder folder;
    Consumption consumption(kind_, folder.File("store"), load_, handler);
    int since = -1;
    std::string wrong = consumption.ConsumeAll([&](int step) {
      if (since < 0 && disk_.failures() > 0) since = step;
      if (since >= 0 && step == since + kStepsOfTrouble) disk_.Mend();
    });
    if (disk_.failures() > 0) ++hit_;
    disk_.Mend();
    const std::string judged = consumption.Judge();
    if (wrong.empty()) wrong = judged;
    Count(consumption);
    report_.messages += load_.messages;
    reruns_ += consumption.repeated();
    if (wrong.empty()) return;
    report_.violations.push_back(
        absl::StrCat(handler == HandlerKind::kPlain ? "plain" : "transactional", " handler, ",
                     trouble.name, " from call ", call, " on: ", wrong));
  }

  void Count(const Consumption& consumption) {
    report_.lost += consumption.lost();
    report_.duplicate_effects += consumption.duplicate_effects();
  }

  std::string ConsumeOnSmallFileSystem() {
    const testing::ScratchFolder folder;
    const std::string mounted = folder.File("small");
    std::filesystem::create_directory(mounted);
    if (mount("none", mounted.c_str(), "tmpfs", 0, absl::StrCat("size=", small_.size).c_str()) !=
        0) {
      const std::string why = absl::StrCat("it cannot be mounted: ", std::strerror(errno));
      if (IsContinuousIntegration()) report_.violations.push_back("a small file system: " + why);
      return "skipped: " + why;
    }
    std::string wrong;
    {
      const std::string ballast = mounted + "/ballast";
      std::ofstream(ballast) << std::string(small_.ballast_bytes, 'b');
      Consumption consumption(kind_, mounted + "/store", small_.load, HandlerKind::kTransactional);
      wrong = consumption.ConsumeAll([&](int step) {
        if (step == 10 * kStepsOfTrouble) std::filesystem::remove(ballast);
      });
      const std::string judged = consumption.Judge();
      if (wrong.empty()) wrong = judged;
      Count(consumption);
      if (wrong.empty() && std::filesystem::exists(ballast)) wrong = "it was never full";
    }
    umount(mounted.c_str());
    if (!wrong.empty()) report_.violations.push_back("a small file system: " + wrong);
    return wrong.empty() ? "passed" : "failed";
  }

  const ConsumedStore& kind_;
  FailingDisk& disk_;
  const SmallFileSystem small_;
  const CampaignOptions options_;
  const Load load_;
  CampaignReport report_;
  std::map<std::pair<HandlerKind, FailingWork>, std::int64_t> calls_;
  std::int64_t hit_ = 0;
  std::int64_t reruns_ = 0;
};

}  // namespace

CampaignReport ConsumeOnFailingDisk(const ConsumedStore& kind, FailingDisk& disk,
                                    const SmallFileSystem& small, const CampaignOptions& options) {
  return Failures(kind, disk, small, options).Run();
}

}  // namespace once::campaign
