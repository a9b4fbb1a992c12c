// The broker of queues, and its channels.
#include "once/testing/fake_queue.h"

#include <algorithm>
#include <utility>

namespace once::testing {
namespace {

absl::Status Dead() { return absl::CancelledError("fake queue: the process is dead"); }
absl::Status Ended() { return absl::UnavailableError("fake queue: the channel has ended"); }

}  // namespace

FakeQueue::FakeQueue(SeamGate& gate, FakeQueueOptions options, SimulationObserver* observer)
    : gate_(gate), options_(options), observer_(observer == nullptr ? &silent_ : observer) {
  gate.set_on_expel([this](Process& process, bool is_deaf) { Disconnect(process, is_deaf); });
}

std::unique_ptr<QueueChannel> FakeQueue::Open(std::shared_ptr<Process> process) {
  process->OnKill([this, dying = process.get()] { Disconnect(*dying); });
  std::unique_ptr<QueueChannel> channel(new QueueChannel(*this, std::move(process)));
  channel->Reopen();
  return channel;
}

void FakeQueue::Send(QueueMessage message) {
  const std::int64_t number = message.number;
  messages_.emplace(number, Stored{.message = std::move(message)});
  Push();
}

void FakeQueue::Push() {
  const auto has_room = [this](const QueueChannel* channel) {
    return channel->unacked_.size() < options_.prefetch;
  };
  for (auto& [number, stored] : messages_) {
    if (!stored.is_ready) continue;
    const auto next = std::find_if(channels_.begin(), channels_.end(), has_room);
    if (next == channels_.end()) break;
    QueueChannel& channel = **next;
    channel.sent_.push_back({.tag = ++channel.last_tag_,
                             .is_redelivered = stored.was_delivered,
                             .message = stored.message});
    channel.unacked_[channel.last_tag_] = number;
    stored.was_delivered = true;
    stored.is_ready = false;
    channel.changed_.NotifyAll();
    std::rotate(next, next + 1, channels_.end());
  }
}

void FakeQueue::Disconnect(Process& process, bool is_deaf) {
  const std::vector<QueueChannel*> channels = channels_;
  for (QueueChannel* channel : channels) {
    if (channel->process_.get() == &process) End(*channel, is_deaf);
  }
}

void FakeQueue::End(QueueChannel& channel, bool is_deaf) {
  if (!std::exchange(channel.is_open_, false)) return;
  channel.is_deaf_ = is_deaf;
  std::erase(channels_, &channel);
  for (const auto& [tag, number] : channel.unacked_) messages_.at(number).is_ready = true;
  channel.unacked_.clear();
  channel.changed_.NotifyAll();
  Push();
}

QueueChannel::~QueueChannel() { queue_.End(*this, false); }

void QueueChannel::Reopen() {
  if (process_->is_dead()) return;
  queue_.End(*this, false);
  is_open_ = true;
  is_deaf_ = false;
  last_tag_ = 0;
  sent_.clear();
  queue_.channels_.push_back(this);
  queue_.Push();
}

absl::Status QueueChannel::CheckKnown() {
  if (process_->is_dead()) return Dead();
  return is_open_ || is_deaf_ ? absl::OkStatus() : Ended();
}

absl::StatusOr<std::optional<QueueDelivery>> QueueChannel::Get(absl::Time deadline) {
  const Fault fault = queue_.gate_.Pass(*process_, Seam::kGet);
  if (fault == Fault::kFailure) queue_.End(*this, false);
  while (true) {
    if (const absl::Status known = CheckKnown(); !known.ok()) return known;
    if (!sent_.empty()) break;
    // Nothing was left that it had been sent before.
    if (std::exchange(is_deaf_, false)) return Ended();
    const bool is_changed = changed_.WaitUntil(deadline);
    if (is_changed || process_->is_dead()) continue;
    return std::nullopt;
  }
  QueueDelivery delivery = std::move(sent_.front());
  sent_.pop_front();
  if (fault == Fault::kCrashAfter) queue_.gate_.Crash(*process_);
  if (process_->is_dead()) return Dead();
  return delivery;
}

absl::Status QueueChannel::Ack(std::uint64_t tag) { return Settle(Seam::kAck, tag); }
absl::Status QueueChannel::Requeue(std::uint64_t tag) { return Settle(Seam::kRequeue, tag); }

absl::Status QueueChannel::Settle(Seam seam, std::uint64_t tag) {
  const Fault fault = queue_.gate_.Pass(*process_, seam);
  if (fault == Fault::kFailure) queue_.End(*this, false);
  if (const absl::Status known = CheckKnown(); !known.ok()) return known;
  // Into a connection that is broken, or breaks before this arrives.
  if (fault == Fault::kUnknownNotApplied) queue_.End(*this, false);
  if (!is_open_) {
    is_deaf_ = false;
    return absl::OkStatus();
  }
  const auto it = unacked_.find(tag);
  if (it == unacked_.end()) {
    queue_.End(*this, false);
    return absl::OkStatus();
  }
  const std::int64_t number = it->second;
  unacked_.erase(it);
  if (seam == Seam::kAck) {
    queue_.messages_.erase(number);
    queue_.observer_->OnQueueAck(*process_, number);
  } else {
    queue_.messages_.at(number).is_ready = true;
  }
  queue_.Push();
  if (fault == Fault::kUnknownApplied) queue_.End(*this, false);
  if (fault == Fault::kCrashAfter) queue_.gate_.Crash(*process_);
  if (process_->is_dead()) return Dead();
  return fault == Fault::kUnknownApplied ? Ended() : absl::OkStatus();
}

}  // namespace once::testing
