// A PendingSend is one message from Send() until its outcome, and then the outcome: the producer
// has it while it is under way, its ticket as long as it likes. The message itself is elsewhere as
// long as a client has a copy of it. With a queue of many thousands each one is cold again when it
// is looked at: it is small, and the memory of one is used again for the next.
//
// Thread-safety: until Complete() only the producer touches it, under its lock, but for the
// atomics; afterwards only the ticket, or, if it has none, whoever keeps it for the next message.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/executor.h"
#include "once/log.h"
#include "once/producer.h"

namespace once {

struct SendStream;

// Counts and logs outcomes that nobody looks at; a line a second at most, with one of the ids.
// Thread-safety: safe for concurrent use.
class UnobservedSends {
 public:
  UnobservedSends(std::shared_ptr<Executor> executor, std::shared_ptr<LogSink> log)
      : executor_(std::move(executor)), log_(std::move(log)) {}

  void Note(const SendOutcome& outcome);
  // Since the last call.
  std::uint64_t TakeCount();
  Executor& executor() { return *executor_; }

 private:
  const std::shared_ptr<Executor> executor_;
  const std::shared_ptr<LogSink> log_;
  std::mutex mutex_;
  std::uint64_t count_ = 0;
  std::uint64_t unlogged_ = 0;
  absl::Time next_line_ = absl::InfinitePast();
};

// What a record's cookie points to.
// Aligned, since a client uses the lowest bit of its address.
struct alignas(void*) RecordCookie {
  bool is_mark = false;
};

// Has the processor fetch what is looked at of a message that is reported, or taken again; of a
// mark it fetches as much, which does no harm.
inline void PrefetchCookie(const void* cookie) {
  constexpr std::uintptr_t kLineBytes = 64;
  constexpr std::uintptr_t kLines = 4;
  const auto address = reinterpret_cast<std::uintptr_t>(cookie);
  for (std::uintptr_t line = 0; line < kLines; ++line) {
    __builtin_prefetch(reinterpret_cast<const void*>(address + line * kLineBytes), 1);
  }
}

// What every message needs comes first, what few need last.
struct PendingSend : RecordCookie {
 private:
  friend class Ticket;
  static constexpr std::uint8_t kDone = 1;
  static constexpr std::uint8_t kAbandoned = 2;
  // Most ids are shorter, and lie in the object itself.
  static constexpr std::size_t kShortIdBytes = 40;

  std::atomic<std::uint8_t> flags_ = 0;
  bool is_named_ = false;
  bool has_ticket_ = false;
  bool holds_message_ = false;
  std::uint8_t short_id_bytes_ = 0;

 public:
  // -- Under way --
  bool may_be_stored = false;  // an earlier attempt ended without an answer
  bool is_alone = false;       // to be sent without others: with them it was too large
  bool is_copied = false;      // the client has the message, and gives it back if it fails
  enum class Place : std::uint8_t {
    kWaiting,  // for the client
    kInside,   // the client has it
    kFailed,   // to be sent again
    kLate      // the client has it, and its outcome has been told
  };
  Place place = Place::kWaiting;
  std::int32_t partition = -1;
  SendStream* stream = nullptr;
  std::uint64_t sequence = 0;  // 0: not yet numbered
  std::uint64_t ordinal = 0;   // of all that the producer was given
  std::size_t bytes = 0;
  PendingSend* before = nullptr;  // the producer has it between these two …
  PendingSend* after = nullptr;
  std::shared_ptr<PendingSend> self;                   // … as long as this says so
  std::function<void(const SendOutcome&)> on_outcome;  // null: it has a ticket

 private:
  std::array<char, kShortIdBytes> short_id_;
  absl::Status settled_;
  std::int64_t settled_offset_ = -1;

 public:
  absl::Time give_up_at;

 private:
  std::string long_id_;
  OutgoingMessage message_;

 public:
  // -- The outcome --
  std::shared_ptr<UnobservedSends> unobserved;
  SendOutcome outcome;  // once somebody has looked, but for the topic, which is there at Complete()

  void SetId(std::string_view id);
  std::string_view id() const {
    return short_id_bytes_ > kShortIdBytes ? std::string_view(long_id_)
                                           : std::string_view(short_id_.data(), short_id_bytes_);
  }
  // The message, where no client has a copy of it: held until it is taken or dropped.
  const OutgoingMessage& message() const { return message_; }
  void Hold(OutgoingMessage&& message) {
    message_ = std::move(message);
    holds_message_ = true;
  }
  OutgoingMessage TakeMessage() { return std::move(message_); }
  void DropMessage() {
    if (std::exchange(holds_message_, false)) message_ = {};
  }

  bool has_ticket() const { return has_ticket_; }
  // As it was made. REQUIRES: nobody else knows it, and it has had no ticket.
  void Renew();
  bool is_done() const { return (flags_.load() & kDone) != 0; }
  // The outcome, which Look() describes.
  void Settle(absl::Status status, std::int64_t offset);
  bool is_settled_ok() const { return settled_.ok(); }
  // The outcome with everything that is known of it. Once it is settled; before Complete() by the
  // producer, afterwards by its ticket.
  const SendOutcome& Look();
  // Both, for a message that no client has.
  void Describe(absl::Status status, std::int64_t offset);
  // The outcome is there: tells whoever waits for it. Once. Holding no lock. `scratch` is where the
  // outcome of a message without a ticket is written for that moment: one for many messages.
  void Complete(SendOutcome& scratch);
  void Complete() {
    SendOutcome scratch;
    Complete(scratch);
  }
  // False: not by `deadline`. One thread at a time.
  bool WaitUntilDone(absl::Time deadline);
  // The ticket goes, and has not been looked at.
  void Abandon();

 private:
  const std::string& topic() const;

  std::unique_ptr<Event> event_;  // made by the first wait
  std::atomic<Event*> waiter_ = nullptr;
};

}  // namespace once
