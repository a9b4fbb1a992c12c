// Senders: room, outcomes, the end.
#include "src/spooling_producer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/transaction.h"
#include "src/relayed_log.h"
#include "src/send_id.h"
#include "src/test_hooks.h"

namespace once {
namespace {

absl::Status Refused(std::string_view field, std::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("SpoolOptions::", ToAbsl(field), " ", ToAbsl(why)));
}

absl::Status ValidatePlace(const SpoolOptions& options) {
  if (options.log != nullptr) {
    if (options.store != nullptr) return Refused("log", "and store are both set; a spool has one");
    return absl::OkStatus();
  }
  if (options.store == nullptr) {
    return Refused("store",
                   "is null; open one, e.g. sqlite::OpenStore, or set log, e.g. of "
                   "redis::OpenSpoolLog");
  }
  TransactionalStore* const transactions = options.store->transactions();
  if (transactions == nullptr || transactions->outgoing() == nullptr) {
    return Refused("store", "has no log of outgoing messages; use SQLite or RocksDB");
  }
  if (options.store->traits().is_shared) {
    return Refused("store",
                   "is shared with other processes; give it one of its own: use SQLite or "
                   "RocksDB, or set log instead, e.g. of redis::OpenSpoolLog");
  }
  return absl::OkStatus();
}

absl::Status Validate(const SpoolOptions& options) {
  if (absl::Status valid = ValidatePlace(options); !valid.ok()) return valid;
  if (options.producer.clients == nullptr) return Refused("producer.clients", "is not set");
  const SpoolLimits& limits = options.limits;
  if (limits.messages_max < 1 || limits.bytes_max < 1 || limits.batch_messages_max < 1) {
    return Refused("limits", "must be at least 1");
  }
  if (limits.age_max <= absl::ZeroDuration()) return Refused("limits.age_max", "must be positive");
  if (options.unreachable_after < absl::Milliseconds(100)) {
    return Refused("unreachable_after", "must be at least 100 ms");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Producer>> OpenSpool(SpoolOptions options) {
  if (absl::Status valid = Validate(options); !valid.ok()) return valid;
  auto producer = std::make_unique<SpoolingProducer>(std::move(options));
  if (absl::Status started = producer->Start(); !started.ok()) return started;
  return producer;
}

SpoolingProducer::SpoolingProducer(SpoolOptions options)
    : options_(std::move(options)),
      executor_(*options_.producer.executor),
      unobserved_(
          std::make_shared<UnobservedSends>(options_.producer.executor, options_.producer.log)),
      disk_(options_.store, options_.log, options_.limits),
      wake_(executor_.NewEvent()) {}

SpoolingProducer::~SpoolingProducer() {
  Close(executor_.Now() + options_.producer.times.close_timeout);
}

absl::Status SpoolingProducer::Start() {
  if (absl::Status counted = disk_.Open(); !counted.ok()) return counted;
  WarnIfWeaker();
  const ProducerOptions& producer = options_.producer;
  std::shared_ptr<DedupStore> store = options_.store;
  if (options_.log != nullptr) store = std::make_shared<RelayedLog>(options_.log);
  absl::StatusOr<std::unique_ptr<OutboxRelay>> relay =
      OutboxRelay::Create({.store = std::move(store),
                           .clients = producer.clients,
                           .id_header = producer.ids.header,
                           // What was sent directly, or again by the program, has other numbers.
                           .has_all_copies = false,
                           .create_marks_topic = producer.stamps.create_marks_topic,
                           .executor = producer.executor,
                           .random = producer.random,
                           .log = producer.log,
                           .metrics = producer.metrics});
  if (!relay.ok()) return relay.status();
  relay_ = *std::move(relay);
  if (options_.mode == SpoolMode::kWhenUnreachable && disk_.is_empty()) OpenRoad();
  relay_task_ = executor_.Spawn("once-spool-relay", [this] {
    relay_->Run(relay_stop_.get_token()).IgnoreError();  // what is left is on the disk
  });
  task_ = executor_.Spawn("once-spool", [this] { RunTask(); });
  return absl::OkStatus();
}

Ticket SpoolingProducer::Send(OutgoingMessage message) {
  auto pending = std::make_shared<PendingSend>();
  Ticket ticket = TicketOf(pending);
  pending->unobserved = unobserved_;
  Submit(std::move(pending), std::move(message));
  return ticket;
}

void SpoolingProducer::Send(OutgoingMessage message,
                            std::function<void(const SendOutcome&)> on_outcome) {
  auto pending = std::make_shared<PendingSend>();
  pending->on_outcome = std::move(on_outcome);
  if (pending->on_outcome == nullptr) pending->on_outcome = [](const SendOutcome&) {};
  Submit(std::move(pending), std::move(message));
}

void SpoolingProducer::Submit(Message message, OutgoingMessage content) {
  const ProducerOptions& producer = options_.producer;
  absl::Status valid = IdentifySend(content, producer.ids, *producer.random, *message);
  if (valid.ok()) valid = ValidateOutgoing(content);
  message->bytes = SizeBytes(content);
  message->Hold(std::move(content));
  message->give_up_at = executor_.Now() + producer.times.send_timeout;
  if (valid.ok()) valid = Admit(message);
  if (valid.ok()) return;
  message->Describe(std::move(valid), -1);
  message->Complete();
}

bool SpoolingProducer::HasRoom(const PendingSend& message) const {
  if (ONCE_PLANTED_BUG("spool-takes-all")) return true;
  const ProducerLimits& limits = options_.producer.limits;
  if (!why_full_.empty()) return false;
  return messages_ == 0 ||
         (messages_ < limits.messages_max && bytes_ + message.bytes <= limits.bytes_max);
}

// Puts the message in line, or on the road, when there is room.
absl::Status SpoolingProducer::Admit(const Message& message) {
  Listener listener{.event = executor_.NewEvent()};
  absl::Status admitted;
  std::shared_ptr<Producer> road;
  Travellers::iterator traveller;
  const auto try_to_admit = [&] {
    if (is_closing_) {
      admitted = absl::FailedPreconditionError("spool: the producer is closed");
      return true;
    }
    if (!HasRoom(*message)) {
      // A full line in memory is soon on the disk; a full disk is not soon empty.
      const bool is_disk_full = !why_full_.empty();
      admitted = absl::ResourceExhaustedError(is_disk_full ? "spool: " + why_full_
                                                           : "spool: no room within send_timeout");
      return is_disk_full && options_.limits.when_full == WhenFull::kRefuse;
    }
    admitted = absl::OkStatus();
    message->ordinal = ++last_ordinal_;
    open_.insert(message->ordinal);
    ++messages_;
    bytes_ += message->bytes;
    road = is_road_closing_ ? nullptr : road_;
    if (road == nullptr) {
      line_.push_back(message);
    } else {
      traveller =
          travellers_.insert(travellers_.end(), {.message = message, .since = executor_.Now()});
    }
    return true;
  };
  bool is_decided = false;
  {
    const std::lock_guard lock(mutex_);
    is_decided = try_to_admit();
    if (!is_decided) listeners_.push_back(&listener);
  }
  if (!is_decided) {
    Await(listener, message->give_up_at, try_to_admit);
    const std::lock_guard lock(mutex_);
    std::erase(listeners_, &listener);
  }
  if (!admitted.ok()) return admitted;
  if (road != nullptr) {
    SendDirectly(road, traveller);
  } else {
    wake_->Set();
  }
  return admitted;
}

void SpoolingProducer::SendDirectly(const std::shared_ptr<Producer>& road,
                                    Travellers::iterator traveller) {
  road->Send(traveller->message->message(),
             [this, traveller](const SendOutcome& outcome) { Arrive(traveller, outcome); });
}

// What no retry can help gets its outcome; everything else that is not OK comes back.
void SpoolingProducer::Arrive(Travellers::iterator traveller, const SendOutcome& outcome) {
  if (outcome.status.ok() || absl::IsInvalidArgument(outcome.status)) {
    const Message message = traveller->message;
    {
      const std::lock_guard lock(mutex_);
      travellers_.erase(traveller);
    }
    message->partition = outcome.partition;
    message->sequence = outcome.sequence;
    message->Describe(outcome.status, outcome.offset);
    Finish(message);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    traveller->has_failed = true;
    if (absl::IsUnknown(outcome.status)) traveller->message->may_be_stored = true;
    is_road_closing_ = true;
  }
  wake_->Set();
}

// What may be on the disk, or with the brokers, since an earlier attempt is never told as not sent.
void SpoolingProducer::Complete(const Message& message, absl::Status status, bool is_spooled) {
  if (!status.ok() && message->may_be_stored && !absl::IsUnknown(status)) {
    status = absl::UnknownError(absl::StrCat(
        "spool: an earlier attempt may have stored it; the last one: ", status.ToString()));
  }
  message->Describe(std::move(status), -1);
  message->outcome.is_spooled = is_spooled;
  Finish(message);
}

void SpoolingProducer::Finish(const Message& message) {
  const bool is_ok = message->outcome.status.ok();
  {
    const std::lock_guard lock(mutex_);
    open_.erase(message->ordinal);
    --messages_;
    bytes_ -= message->bytes;
    for (Listener* listener : listeners_) {
      if (is_ok || listener->failed == nullptr || message->ordinal > listener->up_to) continue;
      ++listener->failed->count;
      if (listener->failed->messages.size() < kUndeliveredListedMax) {
        listener->failed->messages.push_back(message->outcome);
      }
    }
  }
  message->Complete();
  Notify();
}

void SpoolingProducer::Notify() {
  std::vector<std::shared_ptr<Event>> events;
  {
    const std::lock_guard lock(mutex_);
    for (Listener* listener : listeners_) events.push_back(listener->event);
  }
  for (const std::shared_ptr<Event>& event : events) event->Set();
}

// Asks `is_over`, under the lock, until it says so, or until `deadline`.
// REQUIRES: the listener is among the listeners.
void SpoolingProducer::Await(Listener& listener, absl::Time deadline,
                             const std::function<bool()>& is_over) {
  bool has_time = true;
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (is_over() || !has_time) return;
    }
    has_time = listener.event->WaitUntil(deadline);
  }
}

// REQUIRES: the lock is held.
void SpoolingProducer::CountOpen(Undelivered& undelivered, std::uint64_t up_to) const {
  const auto end = open_.upper_bound(up_to);
  undelivered.count += static_cast<std::size_t>(std::distance(open_.begin(), end));
  const auto list = [&](const PendingSend& message) {
    if (message.ordinal > up_to || undelivered.messages.size() >= kUndeliveredListedMax) return;
    undelivered.messages.push_back(
        {.status = absl::UnknownError("spool: neither on the disk nor acknowledged yet"),
         .id = std::string(message.id()),
         .topic = message.message().topic});
  };
  for (const Traveller& traveller : travellers_) list(*traveller.message);
  for (const Message& message : line_) list(*message);
}

Undelivered SpoolingProducer::Flush(absl::Time deadline) {
  Undelivered undelivered;
  Listener listener{.event = executor_.NewEvent(), .failed = &undelivered};
  {
    const std::lock_guard lock(mutex_);
    listener.up_to = last_ordinal_;
    listeners_.push_back(&listener);
  }
  Await(listener, deadline, [&] { return open_.empty() || *open_.begin() > listener.up_to; });
  const std::lock_guard lock(mutex_);
  std::erase(listeners_, &listener);
  CountOpen(undelivered, listener.up_to);
  return undelivered;
}

Undelivered SpoolingProducer::Close(absl::Time deadline) {
  Undelivered undelivered;
  Listener listener{.event = executor_.NewEvent(), .failed = &undelivered};
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(is_closed_, true)) return {};
    is_closing_ = true;
    listeners_.push_back(&listener);
  }
  Notify();
  if (task_ != nullptr) {
    wake_->Set();
    Await(listener, deadline, [this] { return open_.empty(); });
    // What is still on the road comes back, and goes to the disk.
    stop_.request_stop();
    wake_->Set();
    task_ = nullptr;
  }
  if (relay_ != nullptr) relay_->EndBy(deadline);
  relay_stop_.request_stop();
  relay_task_ = nullptr;
  const std::lock_guard lock(mutex_);
  std::erase(listeners_, &listener);
  return undelivered;
}

void SpoolingProducer::Log(LogLevel level, std::string_view action, std::string text) const {
  options_.producer.log->Log({.level = level,
                              .time = executor_.Now(),
                              .action = action,
                              .message = std::move(text),
                              .fields = {}});
}

}  // namespace once
