// What senders see: room, topics, partitions.
#include "src/send_queue.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/test_hooks.h"

namespace once {
namespace {

absl::Status Closed() {
  return absl::FailedPreconditionError("producer: closed; not sent. Send before Close()");
}
absl::Status Dead() { return absl::CancelledError("producer: the process is dead"); }

}  // namespace

SendQueue::SendQueue(SendQueueOptions options)
    : options_(std::move(options)), spent_(options_.limits.messages_max) {}

SendQueue::~SendQueue() { Abandon(absl::UnknownError("producer: destroyed")); }

bool SendQueue::HasRoom(const PendingSend& pending) const {
  if (ONCE_PLANTED_BUG("bounds-are-ignored")) return true;
  return counts_.messages < options_.limits.messages_max &&
         counts_.bytes + pending.bytes <= options_.limits.bytes_max;
}

absl::Status SendQueue::LearnTopic(Lock& lock, const std::string& topic, absl::Time deadline) {
  const std::shared_ptr<RecordClient> client = client_;
  lock.unlock();
  absl::StatusOr<std::int32_t> count =
      client == nullptr ? absl::UnavailableError("producer: there is no client yet")
                        : client->CountPartitions(topic, deadline);
  lock.lock();
  if (!count.ok()) {
    return absl::Status(count.status().code(),
                        absl::StrCat("producer: the partitions of ", topic, ": ",
                                     count.status().message(), "; not sent"));
  }
  std::unique_ptr<SendTopic>& card = topics_[topic];
  if (card == nullptr) card = std::make_unique<SendTopic>();
  card->partitions = std::max(card->partitions, *count);
  card->streams.resize(static_cast<std::size_t>(card->partitions));
  return absl::OkStatus();
}

absl::Status SendQueue::Admit(Lock& lock, PendingSend& pending, const OutgoingMessage& message) {
  if (pending.bytes > options_.limits.bytes_max) {
    return absl::InvalidArgumentError("producer: larger than .limits.bytes_max");
  }
  std::shared_ptr<Event> event;
  const absl::Time send_by =
      pending.give_up_at - options_.times.delivery_timeout + options_.times.send_timeout;
  while (true) {
    if (is_dead_) return Dead();
    if (is_closed_) return Closed();
    const auto card = topics_.find(message.topic);
    if (card == topics_.end() && client_ != nullptr) {
      if (absl::Status learnt = LearnTopic(lock, message.topic, send_by); !learnt.ok()) {
        return learnt;
      }
      continue;
    }
    if (card != topics_.end() && HasRoom(pending)) return Place(*card->second, pending, message);
    if (event == nullptr) {
      lock.unlock();
      event = options_.executor.NewEvent();
      lock.lock();
      continue;
    }
    Listener listener{.waits_for = card != topics_.end() ? News::kRoom : News::kAny,
                      .event = event};
    if (Await(lock, listener, send_by)) continue;
    // Others may have added topics meanwhile: the card may lie elsewhere.
    if (topics_.contains(message.topic) && HasRoom(pending)) continue;
    return absl::ResourceExhaustedError(
        "producer: no room within .times.send_timeout; not sent. The brokers are slower than the "
        "senders, or cannot be reached");
  }
}

// Chooses the partition.
absl::Status SendQueue::Place(SendTopic& topic, PendingSend& pending,
                              const OutgoingMessage& message) {
  if (message.partition) {
    pending.partition = *message.partition;
  } else if (message.key) {
    pending.partition = PartitionOfKey(*message.key, topic.partitions);
  } else {
    pending.partition =
        topic.sticky.Take(topic.partitions, options_.sticky_messages, options_.random);
  }
  if (pending.partition < 0 || pending.partition >= topic.partitions) {
    return absl::InvalidArgumentError(
        absl::StrCat("producer: ", message.topic, " has no partition ",
                     std::exchange(pending.partition, -1), "; it has ", topic.partitions));
  }
  pending.stream = &StreamOf(message.topic, topic, pending.partition);
  return absl::OkStatus();
}

SendStream& SendQueue::StreamOf(const std::string& topic, SendTopic& card, std::int32_t partition) {
  std::unique_ptr<SendStream>& stream = card.streams[static_cast<std::size_t>(partition)];
  if (stream == nullptr) {
    stream = std::make_unique<SendStream>();
    stream->topic = topic;
    stream->partition = partition;
    if (options_.stamping != Stamping::kOff) {
      stream->name = StreamName(topic, partition, options_.by);
    }
  }
  return *stream;
}

void SendQueue::Link(std::shared_ptr<PendingSend> pending) {
  PendingSend& one = *pending;
  one.ordinal = ++last_ordinal_;
  one.before = last_;
  (last_ == nullptr ? first_ : last_->after) = &one;
  last_ = &one;
  ++counts_.messages;
  counts_.bytes += one.bytes;
  one.self = std::move(pending);
}

std::shared_ptr<PendingSend> SendQueue::Unlink(PendingSend& pending) {
  (pending.before == nullptr ? first_ : pending.before->after) = pending.after;
  (pending.after == nullptr ? last_ : pending.after->before) = pending.before;
  pending.before = nullptr;
  pending.after = nullptr;
  if (pending.place == PendingSend::Place::kLate) {
    late_.insert(&pending);
    return pending.self;
  }
  --counts_.messages;
  counts_.bytes -= pending.bytes;
  return std::move(pending.self);
}

// The client has let go of it.
void SendQueue::ReleaseLate(PendingSend& pending) {
  late_.erase(&pending);
  --counts_.messages;
  counts_.bytes -= pending.bytes;
  pending.self = nullptr;
}

void SendQueue::Add(std::shared_ptr<PendingSend> pending, OutgoingMessage&& message) {
  Finished finished;
  Lock lock(mutex_);
  if (absl::Status admitted = Admit(lock, *pending, message); !admitted.ok()) {
    lock.unlock();
    Refuse(pending, std::move(message.topic), std::move(admitted));
    return;
  }
  PendingSend& one = *pending;
  SendStream& stream = *one.stream;
  const absl::Time added = one.give_up_at - options_.times.delivery_timeout;
  Link(std::move(pending));
  bool can_send_more = true;
  if (CanSendAtOnce(stream, one)) {
    can_send_more = SendAtOnce(lock, one, message, finished);
  } else {
    one.Hold(std::move(message));
    stream.waiting.push_back(&one);
  }
  if (can_send_more) Pump(lock, stream, added, finished);
  if (finished.sends.empty() && !is_closed_) return;
  Tell(lock, finished);
}

void SendQueue::Refuse(const std::shared_ptr<PendingSend>& pending, std::string topic,
                       absl::Status status) {
  {
    const std::lock_guard lock(mutex_);
    ++counts_.refused;
  }
  pending->outcome.topic = std::move(topic);
  pending->Describe(std::move(status), -1);
  pending->Complete();
}

std::shared_ptr<RecordClient> SendQueue::client() const {
  const std::lock_guard lock(mutex_);
  return client_;
}

void SendQueue::SetClient(std::shared_ptr<RecordClient> client) {
  Lock lock(mutex_);
  client_.swap(client);
  Finished none;
  Tell(lock, none);
}

bool SendQueue::TakeSuccess() {
  const std::lock_guard lock(mutex_);
  return std::exchange(has_success_, false);
}

SendCounts SendQueue::TakeCounts() {
  const std::lock_guard lock(mutex_);
  const SendCounts taken = counts_;
  counts_ = {.messages = taken.messages, .bytes = taken.bytes};
  return taken;
}

void SendQueue::Refuse() {
  Lock lock(mutex_);
  is_closed_ = true;
  Finished none;
  Tell(lock, none);
}

bool SendQueue::is_dead() const {
  const std::lock_guard lock(mutex_);
  return is_dead_;
}

}  // namespace once
