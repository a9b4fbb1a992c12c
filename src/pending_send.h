// A PendingSend is one message from Send() until its outcome, and then the outcome: the producer
// has it while it is under way, its ticket as long as it likes. With a queue of many thousands
// each one is cold again when it is looked at: what a report needs lies together, in front, and the
// memory of a message is used again for the next one.
//
// Thread-safety: until Complete() only the producer touches it, under its lock, but for the
// atomics; afterwards only the ticket.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

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
struct RecordCookie {
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

// Makes `to` equal to `from`, whose bytes it copies into the memory it has where they are few: then
// `from` frees its own at once, on the thread that allocated it. Many bytes are taken over.
void Refill(OutgoingMessage& to, OutgoingMessage&& from);

struct PendingSend : RecordCookie {
 private:
  friend class Ticket;
  static constexpr std::uint8_t kDone = 1;
  static constexpr std::uint8_t kAbandoned = 2;

  std::atomic<std::uint8_t> flags_ = 0;
  bool is_named_ = false;
  bool has_ticket_ = false;
  absl::Status settled_;
  std::int64_t settled_offset_ = -1;

 public:
  // -- Under way --
  bool may_be_stored = false;  // an earlier attempt ended without an answer
  bool is_alone = false;       // to be sent without others: with them it was too large
  enum class Place : std::uint8_t {
    kWaiting,  // for the client
    kInside,   // the client has it
    kFailed,   // to be sent again
    kLate      // the client has it, and its outcome has been told
  };
  Place place = Place::kWaiting;
  std::int32_t partition = -1;
  std::uint64_t sequence = 0;  // 0: not yet numbered
  std::uint64_t ordinal = 0;   // of all that the producer was given
  std::size_t bytes = 0;
  SendStream* stream = nullptr;
  std::shared_ptr<PendingSend> self;  // while the producer has it …
  PendingSend* before = nullptr;      // … between these two
  PendingSend* after = nullptr;
  absl::Time give_up_at;
  std::function<void(const SendOutcome&)> on_outcome;  // null: it has a ticket
  OutgoingMessage message;
  std::size_t id_header = 0;  // which header of the message is its id

  // -- The outcome --
  std::shared_ptr<UnobservedSends> unobserved;
  SendOutcome outcome;  // once somebody has looked

  bool has_ticket() const { return has_ticket_; }
  // As it was made. REQUIRES: nobody else knows it.
  void Renew();
  bool is_done() const { return (flags_.load() & kDone) != 0; }
  // The outcome, which Look() describes. The message stays as it is.
  void Settle(absl::Status status, std::int64_t offset);
  bool is_settled_ok() const { return settled_.ok(); }
  // The outcome with its id and topic, which it takes from the message. Once it is settled.
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
  // Has the processor fetch the bytes that this one points at: those that Complete() exchanges, and
  // those that Refill() fills. The object itself: PrefetchCookie().
  void PrefetchBytes() const {
    __builtin_prefetch(message.headers.data(), 1);
    if (message.value) __builtin_prefetch(message.value->data(), 1);
  }
  // A ticket may be kept for long, and needs no value; after Complete(). One that is late stays,
  // since the client may still send it.
  void DropValue() {
    if (place != Place::kLate) message.value.reset();
  }
  // False: not by `deadline`. One thread at a time.
  bool WaitUntilDone(absl::Time deadline);
  // The ticket goes, and has not been looked at.
  void Abandon();

 private:
  std::unique_ptr<Event> event_;  // made by the first wait
  std::atomic<Event*> waiter_ = nullptr;
};

}  // namespace once
