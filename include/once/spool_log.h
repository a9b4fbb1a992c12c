// A SpoolLog keeps the messages of a spool (spool.h) where several processes reach them: a log of
// outgoing messages that takes them by itself, outside of any transaction. That is all it can do:
// nothing else becomes visible together with them, so a handler cannot publish through it. For
// that, Transaction::Publish of a store with transactions.
//
//   auto log = once::redis::OpenSpoolLog({.url = "redis://localhost:6379/0"});
//   auto producer = once::OpenSpool({.log = *log, .producer = …});
//
// Every process opens the log for itself, and its spool's relay takes part in publishing what any
// of them has left there: of a process that dies the others publish what it had appended.
//
// Thread-safety: NewNumber(), Append() and Resolve() from one thread at a time; the rest safe for
// concurrent use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/dedup_store.h"
#include "once/outgoing_log.h"
#include "once/publisher.h"

namespace once {

struct SpoolAppend {
  std::uint64_t number = 0;  // of SpoolLog::NewNumber(), for this append alone
  std::span<const OutgoingMessage* const> messages;
  // Nothing is taken while so many messages, or so many bytes of them, are in the log, whoever has
  // put them there. What is taken with one Append() may go beyond.
  std::size_t messages_max = 0;
  std::size_t bytes_max = 0;
};

class SpoolLog {
 public:
  SpoolLog() = default;
  SpoolLog(const SpoolLog&) = delete;
  SpoolLog& operator=(const SpoolLog&) = delete;
  virtual ~SpoolLog() = default;

  // May be asked at any time: durability falls when the log learns that it can lose what it has
  // taken, or that it has. `id` is the producer of what comes out of it.
  virtual StoreTraits traits() const = 0;
  // Lives as long as this.
  virtual OutgoingLog& outgoing() = 0;

  // Ascending, from 1, each given once.
  std::uint64_t NewNumber() { return ++last_number_; }
  // All of the messages, in their order, or none; OK: as durable as traits() say. kInvalidArgument:
  // one of them can never be taken; kResourceExhausted: the log is full; kUnknown: they may be
  // there, or come to be there, until Resolve() has been answered; any other error: none was taken.
  virtual absl::Status Append(const SpoolAppend& append) = 0;
  // Decides what became of an Append() that was unknown. True: its messages are there, or have been
  // published since. False: they are not, and never will be. An error: ask again.
  // REQUIRES: no Append() of a greater number was called.
  virtual absl::StatusOr<bool> Resolve(std::uint64_t number) = 0;

 private:
  std::uint64_t last_number_ = 0;
};

}  // namespace once
