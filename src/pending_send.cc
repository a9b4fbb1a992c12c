// The hand-over of an outcome, and what becomes of those that nobody looks at.
#include "src/pending_send.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

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
  outcome.status = std::move(status);
  outcome.partition = partition;
  outcome.offset = offset;
  outcome.sequence = sequence;
}

void PendingSend::Renew() {
  id_header = 0;
  bytes = 0;
  partition = -1;
  sequence = 0;
  ordinal = 0;
  may_be_stored = false;
  is_alone = false;
  place = Place::kWaiting;
  stream = nullptr;
  before = nullptr;
  after = nullptr;
  unobserved = nullptr;
  on_outcome = nullptr;
  outcome.status = absl::OkStatus();
  outcome.partition = -1;
  outcome.offset = -1;
  outcome.sequence = 0;
  outcome.is_spooled = false;
  outcome.id.clear();
  outcome.topic.clear();
  flags_ = 0;
  is_named_ = false;
  has_ticket_ = false;
  event_ = nullptr;
  waiter_ = nullptr;
}

const SendOutcome& PendingSend::Look() {
  if (std::exchange(is_named_, true)) return outcome;
  outcome.topic = std::move(message.topic);
  if (id_header < message.headers.size() && message.headers[id_header].value.has_value()) {
    outcome.id = *std::move(message.headers[id_header].value);
  }
  return outcome;
}

void PendingSend::Describe(absl::Status status, std::int64_t offset) {
  Settle(std::move(status), offset);
  Look();
  message = {};
}

void PendingSend::Complete() {
  if (on_outcome) {
    on_outcome(Look());
    on_outcome = nullptr;
    return;
  }
  const std::uint8_t before_it = flags_.fetch_or(kDone);
  if ((before_it & kAbandoned) != 0) {
    if (!outcome.status.ok()) unobserved->Note(Look());
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
  if ((before_it & kDone) != 0 && !outcome.status.ok()) unobserved->Note(Look());
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
