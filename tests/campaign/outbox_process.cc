// Writers, a relay, and the store that they share.
#include "tests/campaign/outbox_process.h"

#include <sys/prctl.h>

#include <atomic>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "once/kafka/record_client.h"
#include "once/outbox_relay.h"
#include "once/transact.h"
#include "tests/campaign/child_life.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/forgetful_clients.h"
#include "tests/campaign/outbox_book.h"
#include "tests/campaign/workload.h"
#include "tests/integration/consumer_group.h"

namespace once::campaign {
namespace {

using testing::Must;

// One transaction in so many is rolled back: half of those by an exception.
constexpr std::int64_t kUndoneOneIn = 8;
// Of the writer that holds its transactions: the first of them, and how many lie between two.
constexpr std::int64_t kFirstHeld = 3;
constexpr std::int64_t kHeldOneIn = 100;

struct Undone : std::exception {};

class OutboxProcess {
 public:
  explicit OutboxProcess(OutboxTask task)
      : task_(std::move(task)),
        book_(OutboxBookOf(task_.book)),
        log_(OpenLog(task_.log)),
        answered_(task_.answered),
        store_(Must(book_.Open(task_.store, absl::Milliseconds(task_.busy_ms)))),
        relay_(Must(OutboxRelay::Create(
            {.store = store_,
             .clients = Clients(),
             .round_rows_max = static_cast<std::size_t>(task_.round_rows_max),
             .mark_interval = absl::Seconds(1),
             .create_marks_topic = kafka::MarksTopics({.brokers = task_.brokers, .log = log_}),
             .log = log_}))) {}

  int Run() {
    relaying_ = std::jthread([this](std::stop_token stop) { relayed_ = relay_->Run(stop); });
    Beat();
    {
      std::vector<std::jthread> writers;
      for (int i = 0; i < task_.writers; ++i) {
        writers.emplace_back([this, i] { Write(i); });
      }
    }
    // For as long as whoever has started this process lets it live.
    while (!has_failed_ && (!task_.drains || !IsPublished())) {
      absl::SleepFor(absl::Milliseconds(20));
    }
    relaying_.request_stop();
    relaying_.join();
    if (!relayed_.ok()) std::cerr << "relaying: " << relayed_ << "\n";
    return relayed_.ok() && !has_failed_ ? 0 : 1;
  }

 private:
  RecordClientFactory Clients() const {
    RecordClientFactory clients =
        kafka::RecordClients({.brokers = task_.brokers,
                              .properties = {{"reconnect.backoff.max.ms", "500"}},
                              .log = log_});
    return task_.is_wrong ? ForgetfulClients(std::move(clients)) : clients;
  }

  void Write(int writer) {
    Dice dice(Draw(task_.seed, static_cast<std::uint64_t>(writer)));
    // Every other writer, where there are such transactions.
    const std::unique_ptr<OutboxWriter> own =
        writer % 2 == 0 ? book_.NewWriter(task_.store, task_.topic) : nullptr;
    for (std::int64_t number = 0; !has_failed_ && written_ < task_.rows_max; ++number) {
      WriteOnce(writer, number, dice, own.get());
    }
  }

  // One transaction, which is committed, rolled back, or refused while another one holds the store.
  void WriteOnce(int writer, std::int64_t number, Dice& dice, OutboxWriter* own) {
    const std::int64_t rows = 1 + dice.Below(kRowsPerTransactionMax);
    const bool throws = dice.OneIn(2);
    const bool is_held = task_.hold_ms > 0 && writer == 0 && number % kHeldOneIn == kFirstHeld;
    OutboxWrite write{.hold = absl::Milliseconds(is_held ? task_.hold_ms : 0),
                      .is_undone = dice.OneIn(kUndoneOneIn)};
    for (std::int64_t row = 0; row < rows; ++row) {
      write.rows.push_back(
          {.key = absl::StrCat("key-", dice.Below(task_.keys)),
           .name = absl::StrCat("l", task_.life, ".w", writer, ".", number, ".", row)});
    }
    const absl::Status committed = own != nullptr ? own->Write(write) : WriteInStore(write, throws);
    if (committed.ok()) {
      std::string lines;
      for (const SentMessage& row : write.rows) {
        absl::StrAppend(&lines, lines.empty() ? "" : "\n", row.name);
      }
      answered_.Append(lines);
      Count(rows);
    } else if (absl::IsUnavailable(committed) || absl::IsUnknown(committed) ||
               absl::IsAborted(committed)) {
      // A server may be away for a while.
      absl::SleepFor(absl::Milliseconds(10));
    } else if (!write.is_undone) {
      std::cerr << "a transaction: " << committed << "\n";
      has_failed_ = true;
    }
  }

  absl::Status WriteInStore(const OutboxWrite& write, bool throws) {
    return Transact(*store_, [&](Transaction& transaction) -> absl::Status {
      for (const SentMessage& row : write.rows) {
        if (absl::Status put = PutOne(transaction, row.key, row.name); !put.ok()) return put;
      }
      absl::SleepFor(write.hold);
      if (write.is_undone && throws) throw Undone();
      return write.is_undone ? absl::CancelledError("undone on purpose") : absl::OkStatus();
    });
  }

  absl::Status PutOne(Transaction& transaction, const std::string& key, const std::string& name) {
    const absl::StatusOr<std::int64_t> number = book_.Put(transaction, key, name);
    if (!number.ok()) return number.status();
    return transaction.Publish(
        {.topic = task_.topic,
         .key = key,
         .value = EncodeSent({.key = key, .number = *number, .name = name})});
  }

  void Count(std::int64_t rows) {
    const std::int64_t before = written_.fetch_add(rows);
    for (std::int64_t i = before / kRowsPerBeat; i < (before + rows) / kRowsPerBeat; ++i) Beat();
  }

  bool IsPublished() {
    const absl::StatusOr<OutgoingCounts> counts = store_->transactions()->outgoing()->Count();
    return counts.ok() && counts->waiting == 0;
  }

  const OutboxTask task_;
  const OutboxBook& book_;
  const std::shared_ptr<LogSink> log_;
  const LineFile answered_;
  const std::shared_ptr<DedupStore> store_;
  const std::unique_ptr<OutboxRelay> relay_;
  std::atomic<std::int64_t> written_ = 0;
  std::atomic<bool> has_failed_ = false;
  absl::Status relayed_;
  std::jthread relaying_;
};

}  // namespace

int PublishUntilKilled(const Json& task) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    return OutboxProcess(nlohmann::json(task).get<OutboxTask>()).Run();
  } catch (const std::exception& error) {
    std::cerr << "publishing: " << error.what() << "\n";
    return 1;
  }
}

}  // namespace once::campaign
