// A PendingSend is one message from Send() until its outcome, and then the outcome: the producer
// has it while it is under way, its ticket as long as it likes.
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

struct PendingSend : RecordCookie {
  // -- Under way --
  OutgoingMessage message;
  std::size_t id_header = 0;  // which header of the message is its id
  std::size_t bytes = 0;
  std::int32_t partition = -1;
  std::uint64_t sequence = 0;  // 0: not yet numbered
  std::uint64_t ordinal = 0;   // of all that the producer was given
  absl::Time give_up_at;
  bool may_be_stored = false;  // an earlier attempt ended without an answer
  bool is_alone = false;       // to be sent without others: with them it was too large
  enum class Place : std::uint8_t {
    kWaiting,  // for the client
    kInside,   // the client has it
    kFailed,   // to be sent again
    kLate      // the client has it, and its outcome has been told
  };
  Place place = Place::kWaiting;
  SendStream* stream = nullptr;
  std::shared_ptr<PendingSend> self;  // while the producer has it …
  PendingSend* before = nullptr;      // … between these two
  PendingSend* after = nullptr;

  // -- The outcome: without id and topic until somebody looks --
  std::shared_ptr<UnobservedSends> unobserved;
  std::function<void(const SendOutcome&)> on_outcome;  // null: it has a ticket
  SendOutcome outcome;

  bool has_ticket() const { return has_ticket_; }
  // As it was made. REQUIRES: nobody else knows it.
  void Renew();
  bool is_done() const { return (flags_.load() & kDone) != 0; }
  // The outcome, but for what Look() adds. The message stays as it is.
  void Settle(absl::Status status, std::int64_t offset);
  // The outcome with its id and topic, which it takes from the message. Once it is settled.
  const SendOutcome& Look();
  // Both, for a message that no client has.
  void Describe(absl::Status status, std::int64_t offset);
  // The outcome is there: tells whoever waits for it. Once. Holding no lock.
  void Complete();
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
  friend class Ticket;
  static constexpr std::uint8_t kDone = 1;
  static constexpr std::uint8_t kAbandoned = 2;

  std::atomic<std::uint8_t> flags_ = 0;
  bool is_named_ = false;
  bool has_ticket_ = false;
  std::unique_ptr<Event> event_;  // made by the first wait
  std::atomic<Event*> waiter_ = nullptr;
};

}  // namespace once
