// Senders, their producer, and what it tells them.
#include "tests/campaign/sending_process.h"

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
#include "once/producer.h"
#include "once/spool.h"
#include "once/sqlite/store.h"
#include "tests/campaign/child_life.h"
#include "tests/campaign/forgetful_clients.h"
#include "tests/campaign/sent_evidence.h"
#include "tests/campaign/sent_judge.h"
#include "tests/integration/consumer_group.h"

namespace once::campaign {
namespace {

using testing::Must;

// Of one sender: its messages take turns.
constexpr std::int64_t kKeysPerSender = 5;
constexpr absl::Duration kPause = absl::Milliseconds(5);
constexpr absl::Duration kSettlePatience = absl::Minutes(2);

const char* WordOf(const SendOutcome& outcome) {
  if (outcome.status.ok()) return outcome.is_spooled ? kWordSpooled : kWordStored;
  return absl::IsUnknown(outcome.status) ? kWordUnknown : kWordNotStored;
}

class SendingProcess {
 public:
  explicit SendingProcess(SendingTask task)
      : task_(std::move(task)), log_(OpenLog(task_.log)), outcomes_(task_.outcomes) {
    if (task_.mode != "direct") {
      store_ = Must(sqlite::OpenStore({.path = task_.spool, .serve_operators = false}));
    }
    producer_ = Must(Open());
  }

  int Run() {
    Beat();
    {
      std::vector<std::jthread> senders;
      for (int i = 0; i < task_.senders; ++i) {
        senders.emplace_back([this, i](std::stop_token stop) { Send(i, stop); });
      }
      while (!stop_.Await(1'000)) {
      }
    }
    const Undelivered left = producer_->Flush(absl::Now() + kSettlePatience);
    const absl::Time deadline = absl::Now() + kSettlePatience;
    while (CountSpooled() > 0 && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(20));
    const std::size_t spooled = CountSpooled();
    producer_->Close(absl::Now() + kSettlePatience);
    const std::int64_t silent = sent_ - told_;
    if (spooled == 0 && silent == 0) return 0;
    std::cerr << spooled << " messages stay in the spool, " << silent << " have no outcome, "
              << left.count << " were not delivered\n";
    return 1;
  }

 private:
  absl::StatusOr<std::unique_ptr<Producer>> Open() {
    RecordClientFactory clients =
        kafka::RecordClients({.brokers = task_.brokers,
                              .properties = {{"reconnect.backoff.max.ms", "500"}},
                              .log = log_});
    ProducerOptions options{
        .clients = task_.is_wrong ? ForgetfulClients(std::move(clients)) : std::move(clients),
        .stamps = {.producer = "campaign",
                   .mark_interval = absl::Seconds(1),
                   .create_marks_topic =
                       kafka::MarksTopics({.brokers = task_.brokers, .log = log_})},
        .times = {.delivery_timeout = absl::Milliseconds(task_.delivery_ms)},
        .log = log_};
    if (store_ == nullptr) return Producer::Create(std::move(options));
    return OpenSpool(
        {.store = store_,
         .producer = std::move(options),
         .mode = task_.mode == "write-ahead" ? SpoolMode::kWriteAhead : SpoolMode::kWhenUnreachable,
         .unreachable_after = absl::Milliseconds(task_.unreachable_ms)});
  }

  std::size_t CountSpooled() const {
    if (store_ == nullptr) return 0;
    const absl::StatusOr<OutgoingCounts> counts = store_->transactions()->outgoing()->Count();
    return counts.ok() ? counts->waiting : 1;
  }

  void Send(int sender, const std::stop_token& stop) {
    const absl::Time begin = absl::Now();
    const double per_second = static_cast<double>(task_.messages_per_second) / task_.senders;
    for (std::int64_t number = 0; !stop.stop_requested(); ++number) {
      const double due = static_cast<double>(number) / per_second;
      while (absl::Now() < begin + absl::Seconds(due) && !stop.stop_requested()) {
        absl::SleepFor(kPause);
      }
      SendOne(sender, number);
    }
  }

  void SendOne(int sender, std::int64_t number) {
    const SentMessage message{
        .key = absl::StrCat("l", task_.life, ".s", sender, ".k", number % kKeysPerSender),
        .number = 1 + number / kKeysPerSender,
        .name = absl::StrCat("l", task_.life, ".s", sender, ".", number)};
    if (++sent_ % kMessagesPerBeat == 0) Beat();
    producer_->Send({.topic = task_.topic, .key = message.key, .value = EncodeSent(message)},
                    [this, message](const SendOutcome& outcome) { Note(message, outcome); });
  }

  void Note(const SentMessage& message, const SendOutcome& outcome) {
    outcomes_.Append(EncodeOutcome({.name = message.name,
                                    .word = WordOf(outcome),
                                    .key = message.key,
                                    .partition = outcome.partition,
                                    .offset = outcome.offset,
                                    .sequence = outcome.sequence,
                                    .life = task_.life,
                                    .time_us = absl::ToUnixMicros(absl::Now()),
                                    .id = outcome.id}));
    ++told_;
  }

  const SendingTask task_;
  const StopSignal stop_;
  const std::shared_ptr<LogSink> log_;
  const LineFile outcomes_;
  std::atomic<std::int64_t> sent_ = 0;
  std::atomic<std::int64_t> told_ = 0;
  std::shared_ptr<DedupStore> store_;
  std::unique_ptr<Producer> producer_;  // before what its callbacks use goes
};

}  // namespace

int SendUntilStopped(const Json& task) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    return SendingProcess(nlohmann::json(task).get<SendingTask>()).Run();
  } catch (const std::exception& error) {
    std::cerr << "sending: " << error.what() << "\n";
    return 1;
  }
}

}  // namespace once::campaign
