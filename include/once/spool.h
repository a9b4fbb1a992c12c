// A spool keeps messages until the brokers have them: on a disk of this machine, or in a server
// that several processes share. OpenSpool gives a Producer whose outcomes come sooner: a message
// has its outcome once it is on the disk (SendOutcome::is_spooled), and a relay publishes it from
// there, after a restart too.
//
//   auto disk = once::sqlite::OpenStore({.path = "outgoing.db"});
//   auto producer = once::OpenSpool(
//       {.store = *disk,
//        .producer = {.clients = once::kafka::RecordClients({.brokers = "localhost:9092"})}});
//   once::Ticket ticket = (*producer)->Send({.topic = "orders", .key = "c-7", .value = order});
//
// What is spooled is numbered by the relay and carries the store's id as its producer
// (outbox_relay.h). Messages of one topic and key are published in the order of their Send(). One
// that no retry can publish is parked, and those behind it of its topic and key wait
// (docs/outbox.md).
//
// Shared (`log`), whoever lives publishes what any of them has spooled; of each topic and key in
// the order in which it came into the spool, whoever put it there. docs/producing.md says what
// order there is beside it, when messages go directly.
//
// What it is not: an outbox. A message and a row of your database, in one transaction, go through
// Transaction::Publish (transact.h). docs/producing.md compares them.
//
// Thread-safety: OpenSpool from anywhere; the producer as Producer says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"
#include "once/producer.h"
#include "once/spool_log.h"

namespace once {

enum class SpoolMode : std::uint8_t {
  // Every message goes to the disk first: what had an outcome survives the process, and, with a
  // store that is synced, the machine.
  kWriteAhead,
  // Messages go to the brokers directly. When these do not answer for a while, everything that
  // they have not acknowledged goes to the disk, in its order, and what follows behind it; once the
  // relay has published all of it, they are sent directly again. What is on its way directly dies
  // with the process. With a shared spool, while it is empty: whatever another process puts there
  // closes the direct way of all that can ask the store of the spool, within two seconds.
  kWhenUnreachable
};

// What Send() does while the spool is full. While only ProducerLimits are reached, that is what is
// not on the disk yet, it waits in either case, at most send_timeout.
enum class WhenFull : std::uint8_t {
  kBlock,  // waits, at most send_timeout; then kResourceExhausted
  kRefuse  // kResourceExhausted at once
};

struct SpoolLimits {
  // Messages on the disk that are not published yet, parked ones included.
  std::size_t messages_max = 10'000'000;
  // Their bytes. What an earlier opening has left counts by the average of its messages; opening
  // the spool reads all of that once. In a shared spool those of all processes, as they are
  // encoded; both bounds hold for what one write begins with.
  std::size_t bytes_max = std::size_t{4} * 1024 * 1024 * 1024;
  // A spool whose oldest message has waited longer counts as full: nobody looks after it.
  absl::Duration age_max = absl::InfiniteDuration();
  WhenFull when_full = WhenFull::kBlock;
  // One synced transaction takes so many messages, as far as they have come meanwhile.
  std::size_t batch_messages_max = 1000;
};

struct SpoolOptions {
  // This or `log` is required. Of the spool's own: transactions()->outgoing() must not be null.
  // SQLite or RocksDB; the in-memory store forgets at exit and is for tests.
  std::shared_ptr<DedupStore> store;
  // Shared with other processes: once::redis::OpenSpoolLog. One opening, one spool.
  std::shared_ptr<SpoolLog> log = nullptr;
  // Clients, ids, stamps of what is sent directly, limits of what is not on the disk yet, times,
  // and what the program gives it. delivery_timeout counts for what is sent directly.
  ProducerOptions producer;
  SpoolMode mode = SpoolMode::kWriteAhead;
  SpoolLimits limits;
  // kWhenUnreachable: a message that the brokers have not acknowledged for so long shows that they
  // are not there.
  absl::Duration unreachable_after = absl::Seconds(5);
};

// kInvalidArgument, naming the field; kFailedPrecondition: a relay works on this store already.
// Does not wait for the brokers.
absl::StatusOr<std::unique_ptr<Producer>> OpenSpool(SpoolOptions options);

}  // namespace once
