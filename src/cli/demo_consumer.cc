// once::kafka -> once::Consumer -> once::sqlite, with a handler that books orders.
#include "src/cli/demo_consumer.h"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/kafka/dead_letter_topic.h"
#include "once/kafka/source.h"
#include "once/once.h"
#include "once/sqlite/store.h"
#include "src/cli/child_process.h"
#include "src/cli/effects_table.h"
#include "src/cli/mock_group.h"
#include "src/cli/orders.h"
#include "src/cli/progress_board.h"

namespace once::demo {
namespace {

constexpr std::string_view kInstanceId = "once-demo-consumer";
constexpr std::chrono::milliseconds kWatchInterval{10};

// Books one order. What fails on purpose fails here.
class Booking {
 public:
  explicit Booking(ProgressBoard& board) : board_(board) {}

  Outcome operator()(const Message& message, Transaction& transaction) {
    const auto order = ParseOrder(message.value().value_or(""));
    if (!order) return Reject("the value is not an order");
    if (order->cents <= 0) return Reject("an order must have a positive amount");
    if (message.attempt() <= order->failures) return Retry("the ledger is busy, on purpose");
    const absl::StatusOr<std::int64_t> row =
        writer_.Book(sqlite::Connection(transaction), message, *order);
    if (!row.ok()) return row.status();
    board_.cells().newest_row = *row;
    return Done();
  }

 private:
  ProgressBoard& board_;
  EffectWriter writer_;
};

// Copies positions and the outbox's backlog from the store to the board, through the same public
// interface that any tool would use.
class StoreWatch {
 public:
  StoreWatch(DedupStore& store, const DemoConsumerOptions& options, ProgressBoard& board)
      : store_(*store.transactions()), board_(board) {
    for (std::int32_t partition = 0; partition < options.partitions; ++partition) {
      keys_.push_back({.cluster = options.cluster,
                       .group = options.group,
                       .partition = {.topic = options.topic, .partition = partition}});
    }
    thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
  }

 private:
  void Run(const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    while (!stop.stop_requested()) {
      Look();
      wake.wait_for(lock, stop, kWatchInterval, [] { return false; });
    }
  }

  // A look that fails is made good by the next one. Whoever reads the positions first and then a
  // backlog that is not -1 knows that the backlog is at least as new as the positions.
  void Look() {
    board_.cells().outbox_pending = -1;
    const absl::StatusOr<std::vector<std::optional<PositionStamp>>> stamps =
        store_.ReadPositions(keys_);
    for (std::size_t i = 0; stamps.ok() && i < stamps->size(); ++i) {
      if ((*stamps)[i]) board_.cells().positions[i] = (*stamps)[i]->position;
    }
    // Asked for after the positions: once a position has passed a message, its letter is in there.
    const absl::StatusOr<std::size_t> pending = store_.outbox().CountPending();
    if (pending.ok()) board_.cells().outbox_pending = static_cast<std::int64_t>(*pending);
  }

  TransactionalStore& store_;
  ProgressBoard& board_;
  std::vector<PartitionKey> keys_;
  std::jthread thread_;
};

}  // namespace

std::vector<std::string> ToArguments(const DemoConsumerOptions& options) {
  return {kDemoConsumerCommand,
          absl::StrCat("--brokers=", options.brokers),
          absl::StrCat("--cluster=", options.cluster),
          absl::StrCat("--group=", options.group),
          absl::StrCat("--topic=", options.topic),
          absl::StrCat("--partitions=", options.partitions),
          absl::StrCat("--store=", options.store_path),
          absl::StrCat("--session-timeout-ms=", options.session_timeout_ms),
          absl::StrCat("--embedded=", options.is_embedded),
          absl::StrCat("--parent=", options.parent)};
}

absl::Status RunDemoConsumer(const DemoConsumerOptions& options) {
  if (absl::Status alive = EndWithParent(options.parent); !alive.ok()) return alive;
  absl::StatusOr<ProgressBoard> board = ProgressBoard::Open(ChildProcess::kSharedDescriptor);
  if (!board.ok()) return board.status();
  const std::shared_ptr<LogSink> log = JsonLog(LogLevel::kInfo);

  auto source = kafka::Subscribe(
      {.brokers = options.brokers,
       .group = options.group,
       .topics = {options.topic},
       // The only strategy that works with a MockGroup; one consumer at a time has nothing to keep.
       .assignment = kafka::AssignmentStrategy::kEager,
       .instance_id = std::string(kInstanceId),
       .session_timeout = absl::Milliseconds(options.session_timeout_ms),
       .properties = options.is_embedded ? MockMemberProperties() : kafka::Properties(),
       .log = log});
  if (!source.ok()) return source.status();
  auto dead_letters = kafka::OpenDeadLetterTopic({.brokers = options.brokers, .log = log});
  if (!dead_letters.ok()) return dead_letters.status();
  auto store = sqlite::OpenStore({.path = options.store_path, .must_exist = true});
  if (!store.ok()) return store.status();

  absl::StatusOr<std::unique_ptr<Consumer>> consumer =
      Consumer::Create({.source = *std::move(source),
                        .store = *store,
                        .id = HeaderId("order-id"),
                        .retry = {.max_attempts = 5, .backoff = {.initial = absl::Milliseconds(5)}},
                        .dead_letters = *std::move(dead_letters),
                        .log = log},
                       [booking = std::make_shared<Booking>(*board)](const Message& message,
                                                                     Transaction& transaction) {
                         return (*booking)(message, transaction);
                       });
  if (!consumer.ok()) return consumer.status();
  board->WriteGuarantee(Describe((*consumer)->guarantee()));
  const StoreWatch watch(**store, options, *board);
  return RunUntilSignal(**consumer);
}

}  // namespace once::demo
