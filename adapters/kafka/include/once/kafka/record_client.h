// kafka::RecordClients gives the RecordClientFactory of a Producer or of an outbox's relay.
//
//   auto producer = once::Producer::Create(
//       {.clients = once::kafka::RecordClients({.brokers = "localhost:9092"})});
//
// acks=all and idempotent: what the client itself resends causes no duplicates and no reordering.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/kafka/properties.h"
#include "once/log.h"
#include "once/record_client.h"

namespace once::kafka {

struct RecordClientSettings {
  std::string brokers;  // host:port, several by commas; required
  // How long the client waits for more records before it sends a batch. Longer: fewer, larger
  // requests; shorter: quicker acknowledgements.
  absl::Duration linger = absl::Milliseconds(5);
  // The queue's bounds: records, and bytes of their keys and values. A full queue is
  // kResourceExhausted.
  std::size_t queue_records_max = 1'000'000;
  std::size_t queue_bytes_max = 64 * 1024 * 1024;
  Properties properties = {};
  std::shared_ptr<LogSink> log = JsonLog();
};

// The factory checks the settings when it opens a client: kInvalidArgument, naming the field or
// property. With has_no_gaps the delivery timeout must be infinite: librdkafka sends on behind a
// record that has timed out. Safe for concurrent use.
RecordClientFactory RecordClients(RecordClientSettings settings);

struct MarksTopicSettings {
  std::string brokers;            // as above
  std::int16_t replication = -1;  // -1: the broker's default.replication.factor
  // How long a mark or void is kept; at least as long as the records that it speaks of.
  absl::Duration retention = absl::Hours(24 * 30);
  Properties properties = {};
  std::shared_ptr<LogSink> log = JsonLog();
};

// What ProducerOptions::create_marks_topic needs: creates a topic of one partition, compacted and
// deleted by age. The function blocks until the brokers have answered; OK also when the topic is
// there. Safe for concurrent use.
std::function<absl::Status(const std::string& topic, absl::Time deadline)> MarksTopics(
    MarksTopicSettings settings);

}  // namespace once::kafka
