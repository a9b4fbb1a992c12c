// kafka::OpenDeadLetterTopic gives the DeadLetterSink of a consumer: letters go to one topic per
// origin topic and group, which is created with the origin's partition count when it is missing.
//
//   auto dead_letters = once::kafka::OpenDeadLetterTopic({.brokers = "localhost:9092"});
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/dead_letter.h"
#include "once/kafka/properties.h"
#include "once/kafka/publisher.h"
#include "once/log.h"

namespace once::kafka {

struct DeadLetterOptions {
  std::string brokers;  // host:port, several by commas; required
  DeadLetterTopicFunction topic = DefaultDeadLetterTopic;
  // False: a letter for a topic that does not exist fails with kInvalidArgument, which stops the
  // partition until somebody creates it.
  bool create_topics = true;
  // Of a topic that is created. 0: as many as the letter's once-origin-topic has, or 1.
  std::int32_t partitions = 0;
  std::int16_t replication = -1;  // -1: the broker's default.replication.factor
  absl::Duration delivery_timeout = absl::Seconds(30);
  Properties properties;
  std::shared_ptr<LogSink> log = JsonLog();
};

// kInvalidArgument, naming the field or property. Does not wait for the brokers.
absl::StatusOr<DeadLetterSink> OpenDeadLetterTopic(DeadLetterOptions options);

}  // namespace once::kafka
