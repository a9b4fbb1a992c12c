// What is compared: ways to send the same messages, each of 100 bytes with an id of 32 bytes in a
// header, to kPartitions partitions in turn. Each says how long it took from the first message to
// the last acknowledgement, and throws std::runtime_error unless all were acknowledged.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "once/publisher.h"

namespace once::benchmark {

struct SendTask {
  std::string brokers;
  std::string topic;
  std::int64_t messages = 0;
  std::int64_t room = 100'000;  // messages without an answer at which a sender waits
  std::string folder;           // for stores
  std::string postgres;         // a server, as libpq takes it; empty: there is none
};

// The same for all.
inline constexpr absl::Duration kLinger = absl::Milliseconds(5);
inline constexpr absl::Duration kFlushTime = absl::Minutes(2);

// The message at this place, from 0 on.
OutgoingMessage MessageAt(const SendTask& task, std::int64_t place);

// librdkafka's idempotent producer, one thread, a header with the id.
double SendRaw(const SendTask& task);
// The same with a second header, which is a stamp: what numbering costs librdkafka itself.
double SendRawStamped(const SendTask& task);
// A once::Producer with callbacks, without and with stamps; and with a ticket for each message.
double SendUnstamped(const SendTask& task);
double SendStamped(const SendTask& task);
double SendWithTickets(const SendTask& task);

// Empty, or what is wrong with the topic's messages: each must be there once, and, `is_stamped`,
// numbered without a gap.
std::string FindWrongRecords(const SendTask& task, bool is_stamped);

}  // namespace once::benchmark
