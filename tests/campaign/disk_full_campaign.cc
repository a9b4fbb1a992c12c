// disk-full: the real engine consumes into an SQLite store while the disk fails at its n-th call,
// for every n there is: once, for a spell, for want of space, and in its syncs. The process is
// never restarted. Once the disk is well again everything must settle: one effect per id, a dead
// letter for each rejected message, positions at the end, no partition stopped. Once more on a real
// file system that is too small, where mounting one is permitted.
#include <sqlite3.h>
#include <sys/mount.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "once/consumer.h"
#include "once/sqlite/store.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/disk.h"
#include "tests/scratch_folder.h"
#include "tests/unit/manual_executor.h"
#include "tests/unit/scripted_source.h"

namespace once::campaign {
namespace {

constexpr int kPartitions = 2;
constexpr int kStepsMax = 3'000;
// Steps during which a lasting trouble goes on.
constexpr int kStepsOfTrouble = 60;
constexpr std::size_t kViolationsMax = 5;

// Which messages there are: every seventh is rejected, every fifth fails once, every ninth comes
// again.
struct Load {
  int messages = 40;
  std::size_t value_bytes = 100;
  bool IsRejected(int number) const { return number % 7 == 3; }
  bool FailsOnce(int number) const { return number % 5 == 2; }
  bool ComesAgain(int number) const { return number % 9 == 4; }
};

TopicPartition PartitionOf(int number) { return {"orders", number % kPartitions}; }

std::shared_ptr<ScriptedLog> MakeLog(const Load& load) {
  auto log = std::make_shared<ScriptedLog>();
  const auto append = [&](int number, const TopicPartition& partition) {
    log->Append(partition, {.value = std::string(load.value_bytes, 'v'),
                            .headers = {{"id", absl::StrCat("id-", number)}}});
  };
  for (int i = 0; i < load.messages; ++i) {
    append(i, PartitionOf(i));
    if (load.ComesAgain(i)) append(i, PartitionOf(i + 1));
  }
  log->Assign({PartitionOf(0), PartitionOf(1)});
  return log;
}

// Keeps the ids of the letters that it has acknowledged.
class LetterBox : public Publisher {
 public:
  void Publish(std::span<const OutgoingMessage> messages, absl::Time,
               std::span<absl::Status> outcomes) override {
    for (std::size_t i = 0; i < messages.size(); ++i) {
      outcomes[i] = absl::OkStatus();
      for (const OwnedHeader& header : messages[i].headers) {
        if (header.name == "once-id") ++letters_[header.value.value_or("")];
      }
    }
  }
  const std::map<std::string, int>& letters() const { return letters_; }

 private:
  std::map<std::string, int> letters_;
};

absl::Status Run(sqlite3* connection, const std::string& sql) {
  const int code = sqlite3_exec(connection, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : absl::UnavailableError(sqlite3_errmsg(connection));
}

// A process that consumes; and what its handlers did.
class Consumption {
 public:
  Consumption(std::string path, const Load& load, HandlerKind handler)
      : path_(std::move(path)), load_(load), handler_(handler), log_(MakeLog(load)) {}

  // Opens the store, as often as it takes, and consumes until everything is settled. `after_step`
  // is called with the number of each step. What is wrong; empty: nothing.
  template <typename AfterStep>
  std::string ConsumeAll(AfterStep after_step) {
    std::string wrong = "the store does not open";
    for (int step = 0; step < kStepsMax; ++step) {
      after_step(step);
      if (consumer_ == nullptr && !Start(wrong)) continue;
      if (const auto stepped = consumer_->Step(); !stepped.ok()) {
        return "the consumer gives up: " + stepped.status().ToString();
      }
      clock_->Advance(absl::Milliseconds(200));
      if (IsSettled()) return "";
    }
    if (consumer_ == nullptr) return wrong;
    return absl::StrCat("it does not settle everything: ", Complaint());
  }

  // What is wrong with the effects and letters; empty: nothing. REQUIRES: the disk is well.
  std::string Judge() {
    if (handler_ == HandlerKind::kTransactional) {
      if (const std::string wrong = ReadEffects(); !wrong.empty()) return wrong;
    }
    CountWrong();
    if (consumer_ != nullptr && !consumer_->stopped_partitions().empty()) {
      return "a partition is stopped: " + Complaint();
    }
    for (int i = 0; i < load_.messages; ++i) {
      const std::string id = absl::StrCat("id-", i);
      const int effects = effects_.contains(id) ? effects_.at(id) : 0;
      const bool has_letter = letter_box_->letters().contains(id);
      if (effects != (load_.IsRejected(i) ? 0 : 1)) {
        return absl::StrCat(id, " has ", effects, " effects");
      }
      if (has_letter != load_.IsRejected(i)) {
        return absl::StrCat(id, has_letter ? " has a dead letter" : " has no dead letter");
      }
    }
    return "";
  }

  std::int64_t repeated() const { return repeated_; }
  // Of Judge(): ids without the effect or letter that they should have, and with too many effects.
  std::int64_t lost() const { return lost_; }
  std::int64_t duplicate_effects() const { return duplicate_effects_; }

 private:
  bool Start(std::string& wrong) {
    auto store = sqlite::OpenStore(
        {.path = path_,
         .cache_bytes = 64 * 1024,
         .serve_operators = false,
         .now = [clock = clock_] { return clock->Now(); },
         .setup =
             [](sqlite3* connection) {
               return once::campaign::Run(connection,
                                          "CREATE TABLE IF NOT EXISTS effects(id TEXT, body TEXT);"
                                          "PRAGMA wal_autocheckpoint = 8");
             }});
    if (!store.ok()) {
      wrong = "the store does not open: " + store.status().ToString();
      return false;
    }
    store_ = *std::move(store);
    ConsumerOptions options{
        .source = std::make_unique<ScriptedSource>(log_),
        .store = store_,
        .id = HeaderId("id"),
        .retry = {.max_attempts = 3, .backoff = {.initial = absl::Milliseconds(100), .jitter = 0}},
        .dead_letters = {.publisher = letter_box_},
        .limits = {.batch_messages_max = 8},
        .log = NoLog(),
        .executor = clock_,
        .random = std::make_shared<MiddleRandom>()};
    absl::StatusOr<std::unique_ptr<Consumer>> consumer =
        handler_ == HandlerKind::kPlain
            ? Consumer::Create(std::move(options),
                               PlainHandlerFunction([this](const Message& message) {
                                 return HandlePlainly(message);
                               }))
            : Consumer::Create(std::move(options),
                               TransactionalHandlerFunction(
                                   [this](const Message& message, Transaction& transaction) {
                                     return HandleInTransaction(message, transaction);
                                   }));
    if (!consumer.ok()) wrong = consumer.status().ToString();
    if (consumer.ok()) consumer_ = *std::move(consumer);
    return consumer_ != nullptr;
  }

  // What to do instead of booking; nullopt: book.
  std::optional<Outcome> Instead(const Message& message) const {
    const int number = NumberOf(message);
    if (load_.IsRejected(number)) return Reject("rejected");
    if (load_.FailsOnce(number) && message.attempt() == 1) return Retry("fails once");
    return std::nullopt;
  }

  static int NumberOf(const Message& message) {
    return std::stoi(std::string(message.id().substr(3)));
  }

  Outcome HandleInTransaction(const Message& message, Transaction& transaction) {
    if (const auto instead = Instead(message)) return *instead;
    return once::campaign::Run(
        sqlite::Connection(transaction),
        absl::StrCat("INSERT INTO effects VALUES('", std::string(message.id()), "', '",
                     std::string(message.value().value_or("")), "')"));
  }

  Outcome HandlePlainly(const Message& message) {
    if (const auto instead = Instead(message)) return *instead;
    if (++effects_[std::string(message.id())] > 1 && message.maybe_repeated()) {
      --effects_[std::string(message.id())];
      ++repeated_;
    }
    return Done();
  }

  void CountWrong() {
    for (int i = 0; i < load_.messages; ++i) {
      const std::string id = absl::StrCat("id-", i);
      const int effects = effects_.contains(id) ? effects_.at(id) : 0;
      const int wanted = load_.IsRejected(i) ? 0 : 1;
      const bool has_outcome = wanted == 1 ? effects > 0 : letter_box_->letters().contains(id);
      lost_ += has_outcome ? 0 : 1;
      duplicate_effects_ += std::max(0, effects - wanted);
    }
  }

  bool IsSettled() const {
    for (int i = 0; i < kPartitions; ++i) {
      if (log_->committed(PartitionOf(i)).value_or(0) < EndOf(i)) return false;
    }
    const auto pending = store_->transactions()->outbox().CountPending();
    return pending.ok() && *pending == 0;
  }

  std::int64_t EndOf(int partition) const {
    std::int64_t end = 0;
    for (int i = 0; i < load_.messages; ++i) {
      end += i % kPartitions == partition ? 1 : 0;
      end += load_.ComesAgain(i) && (i + 1) % kPartitions == partition ? 1 : 0;
    }
    return end;
  }

  std::string Complaint() const {
    std::string text;
    for (const StoppedPartition& stopped : consumer_->stopped_partitions()) {
      absl::StrAppend(&text, ToString(stopped.partition), ": ", stopped.reason.ToString(), "; ");
    }
    return text;
  }

  // What is wrong with that; empty: nothing.
  std::string ReadEffects() {
    sqlite3* connection = nullptr;
    sqlite3_open_v2(path_.c_str(), &connection, SQLITE_OPEN_READWRITE, nullptr);
    const auto count = [](void* effects, int, char** values, char**) {
      ++(*static_cast<std::map<std::string, int>*>(effects))[values[0]];
      return 0;
    };
    sqlite3_exec(connection, "SELECT id FROM effects", count, &effects_, nullptr);
    const bool is_read = sqlite3_errcode(connection) == SQLITE_OK;
    const std::string error = sqlite3_errmsg(connection);
    sqlite3_close(connection);
    return is_read ? "" : "the effects cannot be read: " + error;
  }

  const std::string path_;
  const Load load_;
  const HandlerKind handler_;
  const std::shared_ptr<ScriptedLog> log_;
  const std::shared_ptr<ManualExecutor> clock_ = std::make_shared<ManualExecutor>();
  const std::shared_ptr<LetterBox> letter_box_ = std::make_shared<LetterBox>();
  std::map<std::string, int> effects_;
  std::int64_t repeated_ = 0;
  std::int64_t lost_ = 0;
  std::int64_t duplicate_effects_ = 0;
  std::shared_ptr<DedupStore> store_;
  std::unique_ptr<Consumer> consumer_;
};

// How the disk fails.
struct Trouble {
  const char* name;
  std::uint32_t work;
  std::int64_t count;  // calls
  bool is_full;
};
constexpr std::array<Trouble, 4> kTroubles = {{{"one call fails", kDiskAll, 1, false},
                                               {"syncs fail", kDiskSync, 2, false},
                                               {"no space", kDiskWrite, 1'000'000, true},
                                               {"nothing works", kDiskAll, 1'000'000, false}}};

class FailingDisk {
 public:
  explicit FailingDisk(const CampaignOptions& options) : options_(options) {}

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
    disk_.Fail({.work = trouble.work, .first = 1'000'000'000});
    Consumption consumption(folder.File("store.db"), load_, handler);
    const std::string wrong = consumption.ConsumeAll([](int) {});
    const std::int64_t calls = disk_.fault_calls();
    disk_.Mend();
    if (!wrong.empty()) report_.violations.push_back("without any trouble: " + wrong);
    return calls_[key] = calls;
  }

  void FailAt(HandlerKind handler, const Trouble& trouble, std::int64_t call) {
    disk_.PowerUp({});
    disk_.Fail(
        {.work = trouble.work, .first = call, .count = trouble.count, .is_full = trouble.is_full});
    const testing::ScratchFolder folder;
    Consumption consumption(folder.File("store.db"), load_, handler);
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
    if (mount("none", mounted.c_str(), "tmpfs", 0, "size=4m") != 0) {
      const std::string why = absl::StrCat("it cannot be mounted: ", std::strerror(errno));
      if (IsContinuousIntegration()) report_.violations.push_back("a small file system: " + why);
      return "skipped: " + why;
    }
    std::string wrong;
    {
      const std::string ballast = mounted + "/ballast";
      std::ofstream(ballast) << std::string(3'500'000, 'b');
      // More than fits beside the ballast, less than fits without it.
      Consumption consumption(mounted + "/store.db", {.messages = 1'000, .value_bytes = 500},
                              HandlerKind::kTransactional);
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

  const CampaignOptions options_;
  const Load load_;
  Disk disk_;
  CampaignReport report_;
  std::map<std::pair<HandlerKind, std::uint32_t>, std::int64_t> calls_;
  std::int64_t hit_ = 0;
  std::int64_t reruns_ = 0;
};

CampaignReport Run(const CampaignOptions& options) { return FailingDisk(options).Run(); }

}  // namespace

Campaign DiskFullCampaign() {
  return {.name = "disk-full",
          .what = "a disk that fails at its n-th call under the consuming engine",
          .runs = 5'000,
          .quick_runs = 100,
          .needs_broker = false,
          .run = &Run};
}

}  // namespace once::campaign
