// The hand-over of an outcome, and what becomes of those that nobody looks at.
#include "src/pending_send.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/send_stream.h"

namespace once {
namespace {

constexpr absl::Duration kLineInterval = absl::Seconds(1);

}  // namespace

void UnobservedSends::Note(const SendOutcome& outcome) {
  const absl::Time now = executor_->Now();
  std::uint64_t lost = 0;
  {
    const std::lock_guard lock(mutex_);
    ++count_;
    ++unlogged_;
    if (now < next_line_) return;
    next_line_ = now + kLineInterval;
    lost = std::exchange(unlogged_, 0);
  }
  log_->Log({.level = LogLevel::kError,
             .time = now,
             .action = "send_unobserved",
             .message = absl::StrCat(lost, lost == 1 ? " message was" : " messages were",
                                     " not delivered and nobody looked at the ticket; the last: ",
                                     outcome.status.ToString()),
             .fields = {{"once.id", outcome.id}, {"once.topic", outcome.topic}}});
}

std::uint64_t UnobservedSends::TakeCount() {
  const std::lock_guard lock(mutex_);
  return std::exchange(count_, 0);
}

void PendingSend::Settle(absl::Status status, std::int64_t offset) {
  settled_ = std::move(status);
  settled_offset_ = offset;
}

void PendingSend::SetId(std::string_view id) {
  if (id.size() > kShortIdBytes) {
    long_id_ = id;
    short_id_bytes_ = kShortIdBytes + 1;
    return;
  }
  std::copy(id.begin(), id.end(), short_id_.begin());
  short_id_bytes_ = static_cast<std::uint8_t>(id.size());
}

void PendingSend::Renew() {
  short_id_bytes_ = 0;
  bytes = 0;
  partition = -1;
  sequence = 0;
  ordinal = 0;
  may_be_stored = false;
  is_alone = false;
  is_copied = false;
  place = Place::kWaiting;
  stream = nullptr;
  before = nullptr;
  after = nullptr;
  DropMessage();
  on_outcome = nullptr;
  settled_ = absl::OkStatus();
  settled_offset_ = -1;
  if (std::exchange(is_named_, false)) outcome = {};
  flags_.store(0, std::memory_order_relaxed);
}

const std::string& PendingSend::topic() const {
  return stream != nullptr ? stream->topic : message_.topic;
}

const SendOutcome& PendingSend::Look() {
  if (std::exchange(is_named_, true)) return outcome;
  outcome.status = settled_;
  outcome.partition = partition;
  outcome.offset = settled_offset_;
  outcome.sequence = sequence;
  outcome.id = id();
  // A ticket may look when its producer, and the stream, are gone: Complete() has done it for it.
  if (outcome.topic.empty()) outcome.topic = topic();
  return outcome;
}

void PendingSend::Describe(absl::Status status, std::int64_t offset) {
  Settle(std::move(status), offset);
  Look();
  DropMessage();
}

void PendingSend::Complete(SendOutcome& scratch) {
  if (on_outcome) {
    if (is_named_) {
      on_outcome(outcome);
    } else {
      scratch.id = id();
      if (scratch.topic != topic()) scratch.topic = topic();
      scratch.status = std::move(settled_);
      scratch.partition = partition;
      scratch.offset = settled_offset_;
      scratch.sequence = sequence;
      on_outcome(scratch);
    }
    on_outcome = nullptr;
    return;
  }
  const bool has_looker = (flags_.load(std::memory_order_relaxed) & kAbandoned) == 0;
  if (outcome.topic.empty() && (has_looker || !is_settled_ok())) outcome.topic = topic();
  const std::uint8_t before_it = flags_.fetch_or(kDone);
  if ((before_it & kAbandoned) != 0) {
    if (!is_settled_ok()) unobserved->Note(Look());
    return;
  }
  // Whoever waits has said so before it looked at the flag, or sees the flag.
  if (Event* event = waiter_.load(); event != nullptr) event->Set();
}

bool PendingSend::WaitUntilDone(absl::Time deadline) {
  if (is_done()) return true;
  if (event_ == nullptr) {
    event_ = unobserved->executor().NewEvent();
    waiter_.store(event_.get());
  }
  while (!is_done()) {
    if (!event_->WaitUntil(deadline)) return is_done();
  }
  return true;
}

void PendingSend::Abandon() {
  const std::uint8_t before_it = flags_.fetch_or(kAbandoned);
  if ((before_it & kDone) != 0 && !is_settled_ok()) unobserved->Note(Look());
}

Ticket::Ticket(std::shared_ptr<PendingSend> pending) : pending_(std::move(pending)) {
  pending_->has_ticket_ = true;
}

Ticket::Ticket(Ticket&& other) noexcept
    : pending_(std::move(other.pending_)), is_looked_at_(other.is_looked_at_) {}

Ticket& Ticket::operator=(Ticket&& other) noexcept {
  if (this == &other) return *this;
  Drop();
  pending_ = std::move(other.pending_);
  is_looked_at_ = other.is_looked_at_;
  return *this;
}

Ticket::~Ticket() { Drop(); }

void Ticket::Drop() {
  if (pending_ != nullptr && !is_looked_at_) pending_->Abandon();
  pending_ = nullptr;
}

bool Ticket::is_done() const { return pending_ != nullptr && pending_->is_done(); }

const SendOutcome* Ticket::TryGet() {
  if (!is_done()) return nullptr;
  is_looked_at_ = true;
  return &pending_->Look();
}

const SendOutcome* Ticket::Wait(absl::Time deadline) {
  if (pending_ == nullptr || !pending_->WaitUntilDone(deadline)) return nullptr;
  return TryGet();
}

}  // namespace once
