// Options, ids, and the end of a producer.
#include "once/producer.h"

#include <algorithm>
#include <atomic>
#include <span>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/sequence.h"
#include "src/client_keeper.h"
#include "src/mark_writer.h"
#include "src/pending_send.h"
#include "src/send_id.h"
#include "src/send_queue.h"
#include "src/test_hooks.h"

namespace once {
namespace {

// What Close() adds to its deadline: for the reports of what it gives up, and for marks.
constexpr absl::Duration kPurgeTime = absl::Seconds(2);
constexpr absl::Duration kMarksTime = absl::Seconds(2);
// Log lines about what Close() leaves undelivered.
constexpr std::size_t kUndeliveredLoggedMax = 100;

absl::Status Refused(std::string_view field, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("producer: .", ToAbsl(field), " ", why));
}

absl::Status Validate(const ProducerOptions& options) {
  if (options.clients == nullptr) return Refused("clients", "is not set");
  if (options.ids.header.empty()) return Refused("ids.header", "is empty");
  if (options.sticky_messages < 1) return Refused("sticky_messages", "must be at least 1");
  if (options.limits.messages_max < 1 || options.limits.bytes_max < 1) {
    return Refused("limits", "must be at least 1");
  }
  const ProducerTimes& times = options.times;
  if (times.delivery_timeout < absl::Seconds(1) || times.delivery_timeout > absl::Hours(24)) {
    return Refused("times.delivery_timeout", "must be between a second and a day");
  }
  if (times.send_timeout < absl::ZeroDuration() || times.close_timeout < absl::ZeroDuration()) {
    return Refused("times", "must not be negative");
  }
  if (absl::Status valid = ValidateRetryPolicy({.backoff = times.reopen}); !valid.ok()) {
    return Refused("times.reopen", std::string(valid.message()));
  }
  if (options.stamps.mode == Stamping::kOff) return absl::OkStatus();
  if (options.stamps.mark_interval < absl::Milliseconds(10)) {
    return Refused("stamps.mark_interval", "must be at least 10 ms");
  }
  absl::Status valid = ValidateProducerId(options.stamps.producer);
  return valid.ok() ? valid : Refused("stamps.producer", std::string(valid.message()));
}

// SplitMix64: for choices that need no seam. Source: https://prng.di.unimi.it/splitmix64.c
class PartitionChoice {
 public:
  explicit PartitionChoice(std::uint64_t seed) : state_(seed) {}
  std::uint64_t operator()() {
    std::uint64_t number = state_ += 0x9e3779b97f4a7c15;
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9;
    number = (number ^ (number >> 27)) * 0x94d049bb133111eb;
    return number ^ (number >> 31);
  }

 private:
  std::uint64_t state_;
};

class QueueProducer final : public Producer {
 public:
  explicit QueueProducer(ProducerOptions options)
      : options_(std::move(options)),
        unobserved_(std::make_shared<UnobservedSends>(options_.executor, options_.log)),
        queue_(QueueOptions()),
        keeper_({.clients = options_.clients,
                 .times = options_.times,
                 .queue = queue_,
                 .unobserved = *unobserved_,
                 .executor = *options_.executor,
                 .random = *options_.random,
                 .log = *options_.log,
                 .metrics = *options_.metrics}) {}
  ~QueueProducer() override { Close(options_.executor->Now() + options_.times.close_timeout); }

  absl::Status Start() {
    if (absl::Status started = keeper_.Start(); !started.ok()) return started;
    if (!has_marks()) return absl::OkStatus();
    marks_ = std::make_unique<MarkWriter>(MarkWriter::Options{.stamps = options_.stamps,
                                                              .queue = queue_,
                                                              .executor = *options_.executor,
                                                              .log = *options_.log});
    marks_->Start();
    return absl::OkStatus();
  }

  Ticket Send(OutgoingMessage message) override {
    std::shared_ptr<PendingSend> pending = queue_.NewPending();
    Ticket ticket = TicketOf(pending);
    pending->unobserved = unobserved_;
    Submit(std::move(pending), std::move(message));
    return ticket;
  }
  void Send(OutgoingMessage message, std::function<void(const SendOutcome&)> on_outcome) override {
    std::shared_ptr<PendingSend> pending = queue_.NewPending();
    pending->on_outcome = std::move(on_outcome);
    if (pending->on_outcome == nullptr) pending->on_outcome = [](const SendOutcome&) {};
    Submit(std::move(pending), std::move(message));
  }

  Undelivered Flush(absl::Time deadline) override;
  Undelivered Close(absl::Time deadline) override;

 private:
  bool has_marks() const {
    return options_.stamps.mode == Stamping::kOn &&
           options_.stamps.mark_interval < absl::InfiniteDuration();
  }
  SendQueueOptions QueueOptions();
  void Submit(std::shared_ptr<PendingSend> pending, OutgoingMessage&& message);
  void AwaitMarks(absl::Time deadline);
  void LogUndelivered(const Undelivered& undelivered);

  const ProducerOptions options_;
  const std::shared_ptr<UnobservedSends> unobserved_;
  SendQueue queue_;
  ClientKeeper keeper_;
  std::unique_ptr<MarkWriter> marks_;
  std::atomic<bool> is_closed_ = false;
};

SendQueueOptions QueueProducer::QueueOptions() {
  return {.limits = options_.limits,
          .times = options_.times,
          .stamping = options_.stamps.mode,
          .has_marks = has_marks(),
          .sticky_messages = options_.sticky_messages,
          .by = {.producer = options_.stamps.producer, .epoch = options_.random->Next()},
          .executor = *options_.executor,
          .random = PartitionChoice(options_.random->Next())};
}

void QueueProducer::Submit(std::shared_ptr<PendingSend> pending, OutgoingMessage&& message) {
  absl::Status valid = IdentifySend(message, options_.ids, *options_.random, *pending);
  if (!valid.ok()) {
    queue_.Refuse(pending, std::move(message.topic), std::move(valid));
    return;
  }
  pending->bytes = SizeBytes(message);
  pending->give_up_at = options_.executor->Now() + options_.times.delivery_timeout;
  queue_.Add(std::move(pending), std::move(message));
}

void QueueProducer::AwaitMarks(absl::Time deadline) {
  if (marks_ == nullptr || ONCE_PLANTED_BUG("end-without-marks")) return;
  const absl::Time soon = options_.executor->Now() + kMarksTime;
  queue_.AwaitMarks(std::min(deadline, soon), [this] { marks_->Request(); });
}

Undelivered QueueProducer::Flush(absl::Time deadline) {
  SendQueue::Collection collection;
  queue_.BeginCollecting(collection);
  queue_.AwaitOutcomes(collection, deadline);
  queue_.EndCollecting(collection);
  AwaitMarks(deadline);
  return std::move(collection.undelivered);
}

Undelivered QueueProducer::Close(absl::Time deadline) {
  if (is_closed_.exchange(true)) return {};
  queue_.Refuse();
  SendQueue::Collection collection;
  queue_.BeginCollecting(collection);
  if (!queue_.AwaitOutcomes(collection, deadline)) {
    queue_.GiveUp();
    keeper_.Purge();
    queue_.AwaitOutcomes(collection, options_.executor->Now() + kPurgeTime);
  }
  AwaitMarks(absl::InfiniteFuture());
  marks_ = nullptr;
  keeper_.Stop();
  queue_.Abandon(absl::UnknownError("producer: closed before there was an answer"));
  queue_.EndCollecting(collection);
  LogUndelivered(collection.undelivered);
  return std::move(collection.undelivered);
}

void QueueProducer::LogUndelivered(const Undelivered& undelivered) {
  if (undelivered.count == 0) return;
  const absl::Time now = options_.executor->Now();
  options_.metrics->Add("once_producer_undelivered_total", {},
                        static_cast<double>(undelivered.count));
  const std::size_t listed = std::min(undelivered.messages.size(), kUndeliveredLoggedMax);
  for (const SendOutcome& outcome : std::span(undelivered.messages).first(listed)) {
    options_.log->Log({.level = LogLevel::kError,
                       .time = now,
                       .action = "send_undelivered",
                       .message = outcome.status.ToString(),
                       .fields = {{"once.id", outcome.id}, {"once.topic", outcome.topic}}});
  }
  options_.log->Log({.level = LogLevel::kError,
                     .time = now,
                     .action = "closed_undelivered",
                     .message = absl::StrCat("the producer was closed, and ", undelivered.count,
                                             " messages are not delivered"),
                     .fields = {}});
}

}  // namespace

Ticket Producer::TicketOf(std::shared_ptr<PendingSend> pending) {
  return Ticket(std::move(pending));
}

absl::StatusOr<std::unique_ptr<Producer>> Producer::Create(ProducerOptions options) {
  if (absl::Status valid = Validate(options); !valid.ok()) return valid;
  auto producer = std::make_unique<QueueProducer>(std::move(options));
  if (absl::Status started = producer->Start(); !started.ok()) return started;
  return producer;
}

}  // namespace once
