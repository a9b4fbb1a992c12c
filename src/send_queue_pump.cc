// Handing over to the client, reports, and what is sent again.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/send_queue.h"
#include "src/test_hooks.h"

namespace once {
namespace {

// Messages up to this size are copied by the client: memory that is written, read and freed once,
// in order, is cheaper than what lies about until the report. Larger ones are sent from where they
// lie.
constexpr std::size_t kCopiedBytesMax = 4096;
// One sender hands over at most so many messages of others; the polling task takes the rest.
constexpr std::size_t kPumpedTogetherMax = 256;
// The lock is free again after so many.
constexpr std::size_t kReportsTogetherMax = 64;
// How much later than delivery_timeout a client may answer: it looks at the clock once a second.
// After that the outcome is told without it.
constexpr absl::Duration kAnswerTime = absl::Seconds(3);
constexpr std::size_t kExpiredTogetherMax = 1000;
constexpr absl::Duration kTurn = absl::Milliseconds(100);

absl::Status NotTaken() { return absl::DeadlineExceededError("the client could not take it"); }
absl::Status NotInTime() { return absl::DeadlineExceededError("the client has no answer"); }

}  // namespace

void SendQueue::List(SendStream& stream) {
  if (std::exchange(stream.is_listed, true)) return;
  listed_.push_back(&stream);
}

// Whoever comes while another one pumps leaves its message to that one: so numbers are given in
// order, and nobody waits for anybody.
void SendQueue::Pump(Lock& lock, SendStream& stream, absl::Time now, Finished& finished) {
  if (stream.is_pumping || !stream.can_send()) return;
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
    if (stream.inside > 0 && (pending.is_alone || stream.is_alone_inside)) break;
    stream.waiting.pop_front();
    if (pending.give_up_at <= now) {
      FinishGivenUp(pending, NotTaken(), finished);
      continue;
    }
    if (!PumpOne(lock, stream, pending, finished)) break;
  }
  stream.is_pumping = false;
  --pumping_;
  if (stream.can_send()) List(stream);
}

bool SendQueue::PumpOne(Lock& lock, SendStream& stream, PendingSend& pending, Finished& finished) {
  if (pending.bytes > kCopiedBytesMax) {
    // Once taken it is the client's, and may have its outcome already.
    const absl::Status taken = HandOver(lock, pending, pending.message(), /*is_copied=*/false);
    return taken.ok() || TakeBack(stream, pending, taken, finished);
  }
  OutgoingMessage message = pending.TakeMessage();
  const absl::Status taken = HandOver(lock, pending, message, /*is_copied=*/true);
  if (taken.ok()) return true;
  pending.Hold(std::move(message));
  return TakeBack(stream, pending, taken, finished);
}

// The message is the sender's own, and warm.
bool SendQueue::CanSendAtOnce(const SendStream& stream, const PendingSend& pending) const {
  return pending.bytes <= kCopiedBytesMax && stream.waiting.empty() && stream.failed.empty() &&
         !stream.is_pumping && !(stream.inside > 0 && stream.is_alone_inside) && client_ != nullptr;
}

bool SendQueue::SendAtOnce(Lock& lock, PendingSend& pending, OutgoingMessage& message,
                           Finished& finished) {
  SendStream& stream = *pending.stream;
  stream.is_pumping = true;
  ++pumping_;
  // Once taken it is the client's, and may have its outcome already.
  const absl::Status taken = HandOver(lock, pending, message, /*is_copied=*/true);
  stream.is_pumping = false;
  --pumping_;
  if (taken.ok()) return true;
  pending.Hold(std::move(message));
  const bool can_send_more = TakeBack(stream, pending, taken, finished);
  if (stream.can_send()) List(stream);
  return can_send_more;
}

absl::Status SendQueue::HandOver(Lock& lock, PendingSend& pending, const OutgoingMessage& message,
                                 bool is_copied) {
  SendStream& stream = *pending.stream;
  const std::shared_ptr<RecordClient> client = client_;
  // Numbered before, since its report may come at any time after. Nobody else takes one meanwhile.
  const bool is_new = pending.sequence == 0 && options_.stamping != Stamping::kOff;
  if (is_new) pending.sequence = stream.next_number++;
  ++stream.inside;
  pending.place = PendingSend::Place::kInside;
  if (!is_new && ONCE_PLANTED_BUG("number-given-twice")) pending.sequence = stream.next_number++;
  pending.is_copied = is_copied;
  const std::uint64_t number = pending.sequence;
  stream.is_alone_inside = pending.is_alone;
  stream.handing = &pending;
  lock.unlock();
  char buffer[kStampBytesMax];
  const std::string_view stamp = options_.stamping == Stamping::kOn
                                     ? EncodeStamp(stream.name, number, false, buffer)
                                     : std::string_view();
  absl::Status taken = client->TrySend({.message = message,
                                        .partition = stream.partition,
                                        .stamp = stamp,
                                        .cookie = static_cast<RecordCookie*>(&pending),
                                        .is_copied = is_copied});
  lock.lock();
  stream.handing = nullptr;
  if (taken.ok()) {
    if (is_new) ++counts_.numbered;
    return taken;
  }
  --stream.inside;
  pending.place = PendingSend::Place::kWaiting;
  pending.is_copied = false;
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
    Pump(lock, *stream, now, finished);
  }
  if (now >= next_turn_) {
    next_turn_ = now + kTurn;
    if (!spent_.TakeUse()) spent_.Clear();
    ExpireUnanswered(now, finished);
    finished.has_turn = true;
  }
  if (finished.sends.empty() && !finished.has_turn && !is_closed_) return;
  Tell(lock, finished);
}

// The first ones were sent first, so they expire first.
void SendQueue::Expire(SendStream& stream, absl::Time now, Finished& finished) {
  while (!stream.waiting.empty() && (is_giving_up_ || stream.waiting.front()->give_up_at <= now)) {
    PendingSend& pending = *stream.waiting.front();
    stream.waiting.pop_front();
    FinishGivenUp(pending, NotTaken(), finished);
  }
  if (!stream.waiting.empty()) List(stream);
}

// Whatever became of the client: the sender hears of it. Those that had to wait for room may stand
// behind others that were sent later.
void SendQueue::ExpireUnanswered(absl::Time now, Finished& finished) {
  PendingSend* next = first_;
  for (std::size_t i = 0; next != nullptr && i < kExpiredTogetherMax; ++i) {
    PendingSend& pending = *std::exchange(next, next->after);
    // Its sender reads one that is handed over, however long that takes.
    const bool is_busy = pending.stream->handing == &pending;
    if (!is_busy && pending.give_up_at + kAnswerTime <= now) ExpireOne(pending, finished);
  }
}

void SendQueue::ExpireOne(PendingSend& pending, Finished& finished) {
  SendStream& stream = *pending.stream;
  switch (pending.place) {
    case PendingSend::Place::kWaiting:
      stream.waiting.erase(std::find(stream.waiting.begin(), stream.waiting.end(), &pending));
      break;
    case PendingSend::Place::kFailed:
      std::erase(stream.failed, &pending);
      break;
    case PendingSend::Place::kInside:
      pending.may_be_stored = true;
      pending.place = PendingSend::Place::kLate;
      break;
    case PendingSend::Place::kLate:
      break;
  }
  FinishGivenUp(pending, NotInTime(), finished);
}

void SendQueue::Apply(std::span<const RecordReport> reports) {
  const absl::Time now = options_.executor.Now();
  while (!reports.empty()) {
    const std::size_t count = std::min(reports.size(), kReportsTogetherMax);
    Finished finished;
    finished.sends.reserve(count);
    // They were last touched when they were sent, many thousand messages ago. Not under the lock,
    // which senders wait for.
    for (const RecordReport& report : reports.first(count)) PrefetchCookie(report.cookie);
    Lock lock(mutex_);
    for (const RecordReport& report : reports.first(count)) ApplyOne(report, now, finished);
    Tell(lock, finished);
    reports = reports.subspan(count);
  }
}

void SendQueue::ApplyOne(const RecordReport& report, absl::Time now, Finished& finished) {
  RecordCookie* cookie = static_cast<RecordCookie*>(report.cookie);
  if (cookie->is_mark) {
    finished.has_marks = true;
    return ApplyMark(report);
  }
  PendingSend& pending = *static_cast<PendingSend*>(cookie);
  SendStream& stream = *pending.stream;
  --stream.inside;
  if (pending.place == PendingSend::Place::kLate) {
    ReleaseLate(pending);
    if (stream.inside == 0) MergeFailed(stream);
    return;
  }
  const bool is_too_large = absl::IsOutOfRange(report.status);
  const bool is_final = absl::IsInvalidArgument(report.status) ||
                        absl::IsCancelled(report.status) || (is_too_large && pending.is_alone);
  pending.is_alone |= is_too_large;
  pending.may_be_stored |= absl::IsUnknown(report.status);
  if (report.status.ok()) {
    has_success_ = true;
    if (options_.has_marks) stream.progress.Acknowledge(pending.sequence, report.offset);
    if (ONCE_PLANTED_BUG("arrived-number-void")) AddVoid(stream, pending.sequence);
    Finish(pending, absl::OkStatus(), report.offset, finished);
  } else if (is_final || is_giving_up_ || now >= pending.give_up_at) {
    FinishGivenUp(pending,
                  is_final && is_too_large ? absl::InvalidArgumentError(report.status.message())
                                           : report.status,
                  finished);
  } else if (!TakeReturned(pending, report)) {
    FinishGivenUp(pending,
                  absl::InternalError("producer: not stored, and the client has not given it back"),
                  finished);
  } else {
    if (ONCE_PLANTED_BUG("failed-is-forgotten")) return void(Unlink(pending));
    ++counts_.retries;
    pending.place = PendingSend::Place::kFailed;
    stream.failed.push_back(&pending);
  }
  if (stream.inside == 0) MergeFailed(stream);
}

bool SendQueue::TakeReturned(PendingSend& pending, const RecordReport& report) {
  if (!std::exchange(pending.is_copied, false)) return true;
  if (report.returned == nullptr) return false;
  pending.Hold(std::move(*report.returned));
  return true;
}

// In the old order, and before anything newer.
void SendQueue::MergeFailed(SendStream& stream) {
  if (stream.failed.empty()) return;
  std::sort(stream.failed.begin(), stream.failed.end(),
            [](const PendingSend* a, const PendingSend* b) { return a->ordinal < b->ordinal; });
  for (PendingSend* failed : stream.failed) failed->place = PendingSend::Place::kWaiting;
  stream.waiting.insert(stream.waiting.begin(), stream.failed.begin(), stream.failed.end());
  stream.failed.clear();
  List(stream);
}

void SendQueue::FinishGivenUp(PendingSend& pending, const absl::Status& last, Finished& finished) {
  absl::Status status = last;
  if (pending.may_be_stored) {
    status = absl::UnknownError(
        absl::StrCat("producer: given up, and it may be stored: ", last.message()));
  } else if (!absl::IsInvalidArgument(last) && !absl::IsCancelled(last) &&
             !absl::IsInternal(last)) {
    status = absl::DeadlineExceededError(
        absl::StrCat("producer: given up, not stored: ", last.message()));
  }
  if (pending.sequence != 0) AddVoid(*pending.stream, pending.sequence);
  Finish(pending, std::move(status), -1, finished);
}

void SendQueue::Finish(PendingSend& pending, absl::Status status, std::int64_t offset,
                       Finished& finished) {
  Count(pending, status);
  pending.Settle(std::move(status), offset);
  if (pending.stream != nullptr) {
    std::uint64_t& last_settled = pending.stream->last_settled;
    last_settled = std::max(last_settled, pending.sequence);
  }
  if (!pending.is_settled_ok()) Collect(pending);
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

void SendQueue::Halt() {
  Lock lock(mutex_);
  is_closed_ = true;
  is_giving_up_ = true;
  AwaitPumps(lock);
}

void SendQueue::Abandon(const absl::Status& reason) {
  Halt();
  Finished finished;
  finished.has_marks = true;
  Lock lock(mutex_);
  while (first_ != nullptr) {
    PendingSend& pending = *first_;
    pending.may_be_stored |= absl::IsUnknown(reason) && pending.sequence != 0;
    Finish(pending, reason, -1, finished);
  }
  while (!late_.empty()) ReleaseLate(**late_.begin());
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
