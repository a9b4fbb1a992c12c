// Handing over to the client, reports, and what is sent again.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/send_queue.h"

namespace once {
namespace {

// One sender hands over at most so many messages of others; the polling task takes the rest.
constexpr std::size_t kPumpedTogetherMax = 256;
// The lock is free again after so many.
constexpr std::size_t kReportsTogetherMax = 64;

}  // namespace

void SendQueue::List(SendStream& stream) {
  if (std::exchange(stream.is_listed, true)) return;
  listed_.push_back(&stream);
}

// Whoever comes while another one pumps leaves its message to that one: so numbers are given in
// order, and nobody waits for anybody.
void SendQueue::Pump(Lock& lock, SendStream& stream, Finished& finished) {
  if (stream.is_pumping) return;
  stream.is_pumping = true;
  ++pumping_;
  std::size_t pumped = 0;
  while (client_ != nullptr && stream.can_send() && !is_giving_up_) {
    if (++pumped > kPumpedTogetherMax) {
      const std::shared_ptr<RecordClient> client = client_;
      lock.unlock();
      client->Wake();
      lock.lock();
      break;
    }
    PendingSend& pending = *stream.waiting.front();
    stream.waiting.pop_front();
    const std::shared_ptr<RecordClient> client = client_;
    const absl::Status taken = HandOver(lock, stream, pending, client);
    // Once taken it is the client's, and may have its outcome already.
    if (!taken.ok() && !TakeBack(stream, pending, taken, finished)) break;
  }
  stream.is_pumping = false;
  --pumping_;
  if (stream.can_send()) List(stream);
}

absl::Status SendQueue::HandOver(Lock& lock, SendStream& stream, PendingSend& pending,
                                 const std::shared_ptr<RecordClient>& client) {
  // Numbered before, since its report may come at any time after. Nobody else takes one meanwhile.
  const bool is_new = pending.sequence == 0 && options_.stamping != Stamping::kOff;
  if (is_new) pending.sequence = stream.next_number++;
  ++stream.inside;
  const std::uint64_t number = pending.sequence;
  lock.unlock();
  char buffer[kStampBytesMax];
  const std::string_view stamp = options_.stamping == Stamping::kOn
                                     ? EncodeStamp(stream.name, number, false, buffer)
                                     : std::string_view();
  absl::Status taken = client->TrySend({.message = pending.message,
                                        .partition = stream.partition,
                                        .stamp = stamp,
                                        .cookie = static_cast<RecordCookie*>(&pending)});
  lock.lock();
  if (taken.ok()) {
    if (is_new) ++counts_.numbered;
    return taken;
  }
  --stream.inside;
  if (is_new) {
    pending.sequence = 0;
    --stream.next_number;
  }
  return taken;
}

bool SendQueue::TakeBack(SendStream& stream, PendingSend& pending, const absl::Status& refused,
                         Finished& finished) {
  const bool is_final = absl::IsInvalidArgument(refused) || absl::IsCancelled(refused);
  if (is_final || is_giving_up_) {
    FinishGivenUp(pending, refused, finished);
  } else {
    stream.waiting.push_front(&pending);
  }
  // What failed while none was inside could not be merged by its report.
  if (stream.inside == 0) MergeFailed(stream);
  return absl::IsInvalidArgument(refused);
}

void SendQueue::PumpWaiting() {
  const absl::Time now = options_.executor.Now();
  Finished finished;
  Lock lock(mutex_);
  const std::vector<SendStream*> listed = std::exchange(listed_, {});
  for (SendStream* stream : listed) stream->is_listed = false;
  for (SendStream* stream : listed) {
    Expire(*stream, now, finished);
    Pump(lock, *stream, finished);
  }
  if (finished.sends.empty() && !is_closed_) return;
  Tell(lock, finished);
}

// The first ones were sent first, so they expire first.
void SendQueue::Expire(SendStream& stream, absl::Time now, Finished& finished) {
  while (!stream.waiting.empty() && (is_giving_up_ || stream.waiting.front()->give_up_at <= now)) {
    PendingSend& pending = *stream.waiting.front();
    stream.waiting.pop_front();
    FinishGivenUp(pending, absl::DeadlineExceededError("the client could not take it"), finished);
  }
  if (!stream.waiting.empty()) List(stream);
}

void SendQueue::Apply(std::span<const RecordReport> reports) {
  const absl::Time now = options_.executor.Now();
  while (!reports.empty()) {
    const std::size_t count = std::min(reports.size(), kReportsTogetherMax);
    Finished finished;
    finished.sends.reserve(count);
    Lock lock(mutex_);
    for (const RecordReport& report : reports.first(count)) ApplyOne(report, now, finished);
    Tell(lock, finished);
    reports = reports.subspan(count);
  }
}

void SendQueue::ApplyOne(const RecordReport& report, absl::Time now, Finished& finished) {
  RecordCookie* cookie = static_cast<RecordCookie*>(report.cookie);
  if (cookie->is_mark) return ApplyMark(report);
  PendingSend& pending = *static_cast<PendingSend*>(cookie);
  SendStream& stream = *pending.stream;
  --stream.inside;
  const bool is_final = absl::IsInvalidArgument(report.status) || absl::IsCancelled(report.status);
  pending.may_be_stored |= absl::IsUnknown(report.status);
  if (report.status.ok()) {
    has_success_ = true;
    if (options_.has_marks) stream.progress.Acknowledge(pending.sequence, report.offset);
    Finish(pending, absl::OkStatus(), report.offset, finished);
  } else if (is_final || is_giving_up_ || now >= pending.give_up_at) {
    FinishGivenUp(pending, report.status, finished);
  } else {
    ++counts_.retries;
    stream.failed.push_back(&pending);
  }
  if (stream.inside == 0) MergeFailed(stream);
}

// In the old order, and before anything newer.
void SendQueue::MergeFailed(SendStream& stream) {
  if (stream.failed.empty()) return;
  std::sort(stream.failed.begin(), stream.failed.end(),
            [](const PendingSend* a, const PendingSend* b) { return a->ordinal < b->ordinal; });
  stream.waiting.insert(stream.waiting.begin(), stream.failed.begin(), stream.failed.end());
  stream.failed.clear();
  List(stream);
}

void SendQueue::FinishGivenUp(PendingSend& pending, const absl::Status& last, Finished& finished) {
  absl::Status status = last;
  if (pending.may_be_stored) {
    status = absl::UnknownError(
        absl::StrCat("producer: given up, and it may be stored: ", last.message()));
  } else if (!absl::IsInvalidArgument(last) && !absl::IsCancelled(last)) {
    status = absl::DeadlineExceededError(
        absl::StrCat("producer: given up, not stored: ", last.message()));
  }
  if (pending.sequence != 0) AddVoid(*pending.stream, pending.sequence);
  Finish(pending, std::move(status), -1, finished);
}

void SendQueue::Finish(PendingSend& pending, absl::Status status, std::int64_t offset,
                       Finished& finished) {
  Count(pending, status);
  const bool is_ok = status.ok();
  pending.outcome.status = std::move(status);
  pending.outcome.offset = offset;
  if (!is_ok) {
    pending.Describe(pending.outcome.status, offset);
    for (const Listener* listener : listeners_) {
      if (listener->failed == nullptr || pending.ordinal > listener->up_to) continue;
      if (++listener->failed->count > kUndeliveredListedMax) continue;
      listener->failed->messages.push_back(pending.outcome);
    }
  }
  finished.sends.push_back(Unlink(pending));
}

void SendQueue::Count(const PendingSend& pending, const absl::Status& status) {
  if (status.ok()) {
    ++counts_.delivered;
  } else if (pending.may_be_stored) {
    ++counts_.unknown;
  } else {
    ++counts_.failed;
  }
}

void SendQueue::GiveUp() {
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
  is_giving_up_ = true;
  for (const auto& [name, topic] : topics_) {
    for (const auto& stream : topic->streams) {
      if (stream != nullptr && !stream->waiting.empty()) List(*stream);
    }
  }
}

void SendQueue::Abandon(const absl::Status& reason) {
  Finished finished;
  Lock lock(mutex_);
  is_closed_ = true;
  is_giving_up_ = true;
  AwaitPumps(lock);
  while (first_ != nullptr) {
    PendingSend& pending = *first_;
    pending.may_be_stored |= absl::IsUnknown(reason) && pending.sequence != 0;
    Finish(pending, reason, -1, finished);
  }
  for (const auto& [name, topic] : topics_) {
    for (const auto& stream : topic->streams) {
      if (stream == nullptr) continue;
      stream->waiting.clear();
      stream->failed.clear();
    }
  }
  Tell(lock, finished);
}

void SendQueue::Die() {
  {
    const std::lock_guard lock(mutex_);
    is_dead_ = true;
  }
  Abandon(absl::CancelledError("producer: the process is dead"));
}

}  // namespace once
