// The course of the demonstration. Demo owns everything that a run needs.
#include "src/cli/demo.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "once/abseil.h"
#include "once/dead_letter.h"
#include "once/sqlite/store.h"
#include "src/cli/consumer_keeper.h"
#include "src/cli/demo_broker.h"
#include "src/cli/effects_table.h"
#include "src/cli/letter_reader.h"
#include "src/cli/order_sender.h"
#include "src/cli/progress_board.h"
#include "src/cli/scratch_folder.h"

namespace once::demo {
namespace {

constexpr std::int32_t kPartitions = 6;
static_assert(std::size_t{kPartitions} <= kPartitionsMax);
constexpr std::int64_t kMessagesMin = 1'000;
constexpr std::int64_t kMessagesMax = 10'000'000;
constexpr std::int64_t kKillsMax = 100;
constexpr std::string_view kSqliteScheme = "sqlite:";

constexpr absl::Duration kTurn = absl::Microseconds(500);
constexpr absl::Duration kHuntingTurn = absl::Microseconds(50);
constexpr absl::Duration kRedrawInterval = absl::Milliseconds(100);
constexpr absl::Duration kPatience = absl::Seconds(60);      // without any progress
constexpr absl::Duration kGroupPatience = absl::Seconds(8);  // the same, before the group is mended
constexpr int kLettersAtOnce = 200;

std::atomic<int> caught_signal = 0;
void CatchSignal(int number) { caught_signal = number; }

// SIGINT and SIGTERM end the run in order while this lives; a second one does not wait.
class SignalCatcher {
 public:
  SignalCatcher() {
    struct sigaction action = {};
    action.sa_handler = CatchSignal;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(SIGINT, &action, &interrupt_);
    sigaction(SIGTERM, &action, &terminate_);
  }
  ~SignalCatcher() {
    sigaction(SIGINT, &interrupt_, nullptr);
    sigaction(SIGTERM, &terminate_, nullptr);
  }
  SignalCatcher(const SignalCatcher&) = delete;
  SignalCatcher& operator=(const SignalCatcher&) = delete;

 private:
  struct sigaction interrupt_ = {};
  struct sigaction terminate_ = {};
};

std::string PathOf(const std::string& store) { return store.substr(kSqliteScheme.size()); }

DemoTopics ChooseTopics(const DemoOptions& options) {
  DemoTopics topics{.group = "demo", .orders = "orders", .partitions = kPartitions};
  if (!options.brokers.empty()) {
    // Names that nobody else has on somebody's cluster.
    topics.orders = absl::StrFormat("once-demo-%x-%x", absl::ToUnixMillis(absl::Now()), getpid());
    topics.group = topics.orders;
  }
  topics.dead_letters = DefaultDeadLetterTopic(topics.orders, topics.group);
  return topics;
}

class Demo {
 public:
  Demo(const DemoOptions& options, const ScratchFolder& scratch)
      : options_(options),
        log_path_(scratch.path() + "/consumer.log"),
        store_path_(options.store.empty() ? scratch.path() + "/orders.db" : PathOf(options.store)) {
  }

  absl::Status Run();
  DemoResult TakeResult() {
    sender_.reset();  // its thread reads the plan
    return std::move(result_);
  }
  // Of a real cluster. Harmless at any time.
  absl::Status RemoveTopics() const {
    return broker_ == nullptr ? absl::OkStatus() : broker_->RemoveTopics();
  }

 private:
  absl::Status Prepare();
  absl::Status OpenBroker();
  absl::Status WaitUntilSettled();
  absl::Status Turn();
  void GiveOrders();
  bool IsHunting() const;
  bool HasMoved();
  absl::Status CheckPatience();
  absl::StatusOr<bool> IsSettled();
  absl::Status Compare();
  absl::Status VerifyStore() const;
  absl::Status ReadRemainingLetters();
  void Draw() const;
  void EraseLine() const;

  std::int64_t newest_row() const { return board_->cells().newest_row; }
  std::size_t Consumed() const;

  const DemoOptions& options_;
  const std::string log_path_;
  const std::string store_path_;
  DemoResult result_;
  std::optional<Checker> checker_;
  std::unique_ptr<DemoBroker> broker_;
  std::optional<ProgressBoard> board_;
  std::optional<LetterReader> letters_;
  std::optional<ConsumerKeeper> keeper_;
  std::unique_ptr<OrderSender> sender_;  // goes first: its thread reads the board

  std::vector<std::int64_t> ends_;  // of the orders' partitions, once all are sent
  std::int64_t hunted_row_ = -1;    // the newest row at the last look of a hunt
  std::size_t last_progress_ = 0;
  absl::Time began_;
  absl::Time progressed_at_;
  absl::Duration mended_for_;  // how long nothing had moved when the group was last mended
  absl::Time drawn_at_ = absl::InfinitePast();
};

absl::Status Demo::Run() {
  absl::Status status = Prepare();
  if (status.ok()) status = WaitUntilSettled();
  EraseLine();
  if (status.ok()) status = keeper_->Stop();
  if (status.ok()) status = Compare();
  return status;
}

absl::Status Demo::Prepare() {
  result_.plan = PlanOrders({.messages = static_cast<std::size_t>(options_.messages),
                             .partitions = kPartitions,
                             .seed = options_.seed});
  checker_.emplace(result_.plan);
  // Makes the tables; every consumer expects to find them.
  absl::Status status = sqlite::OpenStore({.path = store_path_, .setup = CreateTables}).status();
  if (!status.ok()) return status;
  if (status = OpenBroker(); !status.ok()) return status;
  absl::StatusOr<ProgressBoard> board = ProgressBoard::Create();
  if (!board.ok()) return board.status();
  board_.emplace(*std::move(board));

  const DemoTopics& topics = broker_->topics();
  keeper_.emplace(DemoConsumerOptions{.brokers = broker_->brokers(),
                                      .cluster = broker_->cluster(),
                                      .group = topics.group,
                                      .topic = topics.orders,
                                      .partitions = topics.partitions,
                                      .store_path = store_path_,
                                      .session_timeout_ms =
                                          absl::ToInt64Milliseconds(broker_->session_timeout()),
                                      .is_embedded = broker_->is_embedded(),
                                      .parent = getpid()},
                  log_path_, *board_);
  if (status = keeper_->Start(); !status.ok()) return status;
  absl::StatusOr<std::unique_ptr<OrderSender>> sender = OrderSender::Start(
      broker_->brokers(), topics.orders, result_.plan, [this] { return Consumed(); });
  if (!sender.ok()) return sender.status();
  sender_ = *std::move(sender);
  began_ = absl::Now();
  progressed_at_ = began_;
  return absl::OkStatus();
}

absl::Status Demo::OpenBroker() {
  const DemoTopics topics = ChooseTopics(options_);
  absl::StatusOr<std::unique_ptr<DemoBroker>> broker =
      options_.brokers.empty() ? DemoBroker::StartEmbedded(topics)
                               : DemoBroker::Connect(options_.brokers, topics);
  if (!broker.ok()) return broker.status();
  broker_ = *std::move(broker);
  absl::StatusOr<LetterReader> letters =
      LetterReader::Open(broker_->brokers(), topics.dead_letters, topics.partitions);
  if (!letters.ok()) return letters.status();
  letters_.emplace(*std::move(letters));
  result_.run = {.is_embedded = broker_->is_embedded(),
                 .brokers = broker_->brokers(),
                 .dead_letter_topic = topics.dead_letters,
                 .kept_store = options_.store.empty() ? "" : store_path_,
                 .kills_wanted = options_.kills};
  return absl::OkStatus();
}

absl::Status Demo::WaitUntilSettled() {
  for (;;) {
    if (absl::Status status = Turn(); !status.ok()) return status;
    const absl::StatusOr<bool> is_settled = IsSettled();
    if (!is_settled.ok()) return is_settled.status();
    if (*is_settled) break;
    absl::SleepFor(IsHunting() ? kHuntingTurn : kTurn);
  }
  result_.run.elapsed = absl::Now() - began_;
  result_.run.kills = keeper_->record();
  result_.run.guarantee = board_->ReadGuarantee();
  return absl::OkStatus();
}

absl::Status Demo::Turn() {
  absl::Status status = keeper_->Watch();
  if (status.ok()) status = sender_->status();
  // Ctrl-C reaches the consumer as well: that it has ended is no news then.
  if (caught_signal != 0) return absl::CancelledError("interrupted");
  if (!status.ok()) return status;
  GiveOrders();
  if (IsHunting()) {
    if (HasMoved()) {
      hunted_row_ = -1;
      if (status = keeper_->KillAndRestart(); !status.ok()) return status;
    }
  } else {
    letters_->Read(0, kLettersAtOnce,
                   [this](const ReadLetter& letter) { checker_->AddLetter(letter); });
  }
  if (options_.is_live && absl::Now() - drawn_at_ >= kRedrawInterval) {
    drawn_at_ = absl::Now();
    Draw();
  }
  return CheckPatience();
}

// Kills are spread evenly over the orders. The last share of the orders is held back until all of
// them have happened, so that there is always something to be in the middle of.
void Demo::GiveOrders() {
  const auto messages = static_cast<std::size_t>(options_.messages);
  const auto kills = static_cast<std::size_t>(options_.kills);
  if (static_cast<std::size_t>(keeper_->record().mid_batch) >= kills) {
    sender_->Allow(messages);
    return;
  }
  sender_->Allow(messages - messages / (kills + 1));
  if (IsHunting() && Consumed() >= sender_->allowed()) {
    // All of it was booked faster than we could strike: give a part of the rest.
    sender_->Allow(sender_->allowed() + (messages - sender_->allowed()) / 4 + 1);
  }
}

bool Demo::IsHunting() const {
  const std::int64_t done = keeper_->record().mid_batch;
  const auto bookable = static_cast<std::int64_t>(result_.plan.bookable());
  return done < options_.kills &&
         newest_row() >= bookable * (2 * done + 1) / (2 * options_.kills + 2);
}

// True when rows were booked between two looks in quick succession: the consumer is at work in a
// transaction right now.
bool Demo::HasMoved() {
  const std::int64_t before = std::exchange(hunted_row_, newest_row());
  return before >= 0 && before != hunted_row_;
}

absl::Status Demo::CheckPatience() {
  const std::size_t progress = static_cast<std::size_t>(newest_row()) + Consumed() +
                               sender_->sent() + checker_->letters_found();
  if (progress != last_progress_) {
    last_progress_ = progress;
    progressed_at_ = absl::Now();
  }
  const absl::Duration stillness = absl::Now() - progressed_at_;
  if (stillness < kGroupPatience) mended_for_ = absl::ZeroDuration();
  if (stillness - mended_for_ >= kGroupPatience && stillness < kPatience) {
    // Should that fail, it is tried again while patience lasts.
    static_cast<void>(broker_->FormGroup());
    mended_for_ = absl::Now() - progressed_at_;
  }
  if (stillness < kPatience) return absl::OkStatus();
  return absl::DeadlineExceededError(
      absl::StrCat("nothing has moved for ", absl::FormatDuration(kPatience), ": ", sender_->sent(),
                   " messages sent, ", Consumed(), " settled, ", newest_row(), " effects booked"));
}

std::size_t Demo::Consumed() const {
  std::int64_t sum = 0;
  for (const auto& position : board_->cells().positions) sum += position;
  return static_cast<std::size_t>(sum);
}

absl::StatusOr<bool> Demo::IsSettled() {
  if (sender_->sent() < result_.plan.messages.size()) return false;
  if (ends_.empty()) {
    absl::StatusOr<std::vector<std::int64_t>> ends = broker_->EndOffsets(broker_->topics().orders);
    if (!ends.ok()) return ends.status();
    ends_ = *std::move(ends);
  }
  const BoardCells& cells = board_->cells();
  for (std::size_t i = 0; i < ends_.size(); ++i) {
    if (cells.positions[i] < ends_[i]) return false;
  }
  // In this order: see StoreWatch in demo_consumer.cc.
  return cells.outbox_pending == 0;
}

absl::Status Demo::Compare() {
  if (absl::Status read = ReadRemainingLetters(); !read.ok()) return read;
  {
    const absl::StatusOr<EffectReader> reader = EffectReader::Open(store_path_);
    if (!reader.ok()) return reader.status();
    if (absl::Status read = reader->ReadInto(*checker_); !read.ok()) return read;
  }
  // Last, so that it is the store that closes the file.
  if (absl::Status verified = VerifyStore(); !verified.ok()) return verified;
  result_.findings = checker_->Finish();
  return absl::OkStatus();
}

// The board is for watching; what counts is what the store says after the end.
absl::Status Demo::VerifyStore() const {
  absl::StatusOr<std::shared_ptr<DedupStore>> store =
      sqlite::OpenStore({.path = store_path_, .must_exist = true, .integrity_check = true});
  if (!store.ok()) return store.status();
  std::vector<PartitionKey> keys;
  keys.reserve(std::size_t{kPartitions});
  for (std::int32_t partition = 0; partition < kPartitions; ++partition) {
    keys.push_back({.cluster = broker_->cluster(),
                    .group = broker_->topics().group,
                    .partition = {.topic = broker_->topics().orders, .partition = partition}});
  }
  const auto stamps = (*store)->transactions()->ReadPositions(keys);
  if (!stamps.ok()) return stamps.status();
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::int64_t position = (*stamps)[i] ? (*stamps)[i]->position : 0;
    if (position != ends_[i]) {
      return absl::InternalError(absl::StrCat("the store's position of partition ", i, " is ",
                                              position, ", and the broker's end is ", ends_[i]));
    }
  }
  const absl::StatusOr<std::size_t> pending = (*store)->transactions()->outbox().CountPending();
  if (!pending.ok()) return pending.status();
  if (*pending == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(*pending, " dead letters are still in the outbox"));
}

absl::Status Demo::ReadRemainingLetters() {
  const auto ends = broker_->EndOffsets(broker_->topics().dead_letters);
  if (!ends.ok()) return ends.status();
  const absl::Time deadline = absl::Now() + kPatience;
  while (letters_->positions() != *ends) {
    constexpr int kWaitMilliseconds = 50;
    letters_->Read(kWaitMilliseconds, kLettersAtOnce,
                   [this](const ReadLetter& letter) { checker_->AddLetter(letter); });
    if (absl::Now() > deadline) {
      return absl::DeadlineExceededError("the dead-letter topic could not be read to its end");
    }
  }
  return absl::OkStatus();
}

void Demo::Draw() const {
  constexpr std::size_t kWidth = 24;
  const std::size_t settled = Consumed();
  const std::size_t filled =
      std::min(kWidth, kWidth * settled / static_cast<std::size_t>(options_.messages));
  std::string bar;
  for (std::size_t i = 0; i < kWidth; ++i) bar += i < filled ? "█" : "░";
  absl::FPrintF(stderr, "\r\033[K  %s  %d of %d settled · %d of %d kills · %d dead letters", bar,
                settled, options_.messages, keeper_->record().mid_batch, options_.kills,
                checker_->letters_found());
}

void Demo::EraseLine() const {
  if (options_.is_live) absl::FPrintF(stderr, "\r\033[K");
}

absl::Status Bad(std::string_view flag, std::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat(ToAbsl(flag), ": ", ToAbsl(text)));
}

absl::Status ValidateStore(const std::string& store) {
  if (store.empty()) return absl::OkStatus();
  if (!absl::StartsWith(store, ToAbsl(kSqliteScheme))) {
    return Bad("--store", absl::StrCat("\"", store,
                                       "\" is of no kind that this command can use; write "
                                       "sqlite:PATH, for example sqlite:/tmp/orders.db"));
  }
  const std::filesystem::path path = PathOf(store);
  if (path.empty()) return Bad("--store", "has no path; write sqlite:PATH");
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    return Bad("--store", absl::StrCat(path.string(),
                                       " exists, and the demonstration begins with an empty "
                                       "store; name another file, or remove this one"));
  }
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  if (!std::filesystem::is_directory(folder, error)) {
    return Bad("--store", absl::StrCat("there is no folder ", folder.string(), "; make it first"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateDemoOptions(const DemoOptions& options) {
  if (options.messages < kMessagesMin || options.messages > kMessagesMax) {
    return Bad("--messages", absl::StrCat(options.messages, " is out of range; take ", kMessagesMin,
                                          " to ", kMessagesMax));
  }
  if (options.kills < 0 || options.kills > kKillsMax) {
    return Bad("--kills", absl::StrCat(options.kills, " is out of range; take 0 to ", kKillsMax));
  }
  return ValidateStore(options.store);
}

absl::StatusOr<DemoResult> RunDemo(const DemoOptions& options) {
  if (absl::Status valid = ValidateDemoOptions(options); !valid.ok()) return valid;
  absl::StatusOr<ScratchFolder> scratch = ScratchFolder::Create();
  if (!scratch.ok()) return scratch.status();
  const SignalCatcher catcher;
  Demo demo(options, *scratch);
  const absl::Status status = demo.Run();
  DemoResult result = demo.TakeResult();
  const bool is_worth_a_look = status.ok() ? !result.findings.is_perfect()
                                           : status.code() != absl::StatusCode::kCancelled &&
                                                 status.code() != absl::StatusCode::kUnavailable;
  if (is_worth_a_look) {
    scratch->Keep();
    absl::FPrintF(stderr, "once demo: kept for a look: %s\n", scratch->path());
  } else if (const absl::Status removed = demo.RemoveTopics(); !removed.ok()) {
    absl::FPrintF(stderr, "once demo: %s\n", removed.ToString());
  }
  if (!status.ok()) return status;
  return result;
}

}  // namespace once::demo
