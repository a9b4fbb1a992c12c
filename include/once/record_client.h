// A RecordClient hands records to a broker's client library one by one and hears, for each, what
// became of it. It is what Producer and the relay of an outbox are built on: they decide on
// partitions, numbers and what is sent again; the client only sends. Not for users: that is
// Producer, or, for batches that are waited for, Publisher.
//
// Status contract of a record's outcome:
//   OK                 stored by the broker as durably as its settings say (acks=all)
//   kUnknown           sent, and nobody knows: may be stored
//   kInvalidArgument   not stored, and no retry can help: too large, no such topic, not allowed
//   kOutOfRange        not stored: together with the records that were sent with it, it is larger
//                      than what the brokers take; alone it may not be
//   kCancelled         the process is dead (simulations); nothing more will happen
//   any other          not stored; a retry may help
// Records of one partition are stored in the order of their TrySend(), each at most once by this
// client. With `has_no_gaps` none is stored behind one that was not: the client breaks instead.
//
// Thread-safety: TrySend(), CountPartitions(), Wake(), Purge() and status() from any thread; Poll()
// from one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/publisher.h"

namespace once {

struct OutgoingRecord {
  const OutgoingMessage& message;  // its topic, key, value and headers; not its partition
  std::int32_t partition = 0;
  // The value of the header kSequenceHeader, which it gets behind its own; empty: none.
  std::string_view stamp;
  // Comes back with the report. The address of something: the lowest bit is the client's own.
  void* cookie = nullptr;
  // False: whoever sends keeps the value's bytes as they are until the report, since the client may
  // send from where they lie; everything else is copied. True: the value is copied too, and the
  // report gives the message back where it is not stored.
  bool is_copied = false;
};

struct RecordReport {
  void* cookie = nullptr;
  absl::Status status;
  std::int64_t offset = -1;  // where it is stored; -1: not, or not known
  // Of a copied record without an OK: its message, without partition and stamp. There until the
  // listener returns, which may take it.
  OutgoingMessage* returned = nullptr;
};

class RecordClient {
 public:
  using Listener = std::function<void(std::span<const RecordReport>)>;

  RecordClient() = default;
  RecordClient(const RecordClient&) = delete;
  RecordClient& operator=(const RecordClient&) = delete;
  // Drops what it still has, without reports. Nothing points at a record's bytes any more then.
  virtual ~RecordClient() = default;

  // How many partitions the topic has, as last heard; asks the brokers where that is not known,
  // until `deadline` at the latest. kInvalidArgument: there is no such topic, or it is not allowed;
  // kUnavailable: nobody answers.
  virtual absl::StatusOr<std::int32_t> CountPartitions(const std::string& topic,
                                                       absl::Time deadline) = 0;

  // Never blocks. OK: the record is accepted, its report follows. kResourceExhausted: the queue is
  // full; try again after a Poll(). kFailedPrecondition: the client is broken (status()).
  // kInvalidArgument: this record can never be sent. After an error there is no report.
  virtual absl::Status TrySend(const OutgoingRecord& record) = 0;

  // Calls `listener`, on this thread and not holding any lock, with what has become known, in any
  // number of calls; returns after the first reports, or at `deadline`, or earlier for reasons of
  // its own: callers loop.
  virtual void Poll(absl::Time deadline, const Listener& listener) = 0;
  // Makes a running Poll() return, or the next one.
  virtual void Wake() = 0;

  // Gives up every record that is still inside: their reports follow, kUnknown for those that may
  // be on their way. What follows in their partitions may break the client.
  virtual void Purge() = 0;

  // Records accepted and not yet reported.
  virtual std::size_t CountInside() const = 0;

  // OK, or why no record can be sent with this client any more; another one must be opened.
  virtual absl::Status status() const = 0;
};

struct RecordClientOptions {
  // After this time a record is given up. Infinite: only Purge() does that.
  absl::Duration delivery_timeout = absl::InfiniteDuration();
  // May need an infinite delivery_timeout.
  bool has_no_gaps = false;
};

// Opens a client. Does not wait for the brokers.
using RecordClientFactory = std::function<absl::StatusOr<std::unique_ptr<RecordClient>>(
    const RecordClientOptions& options)>;

}  // namespace once
