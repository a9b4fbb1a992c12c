// kafka::OpenPublisher gives a Publisher that says OK only for what every in-sync replica has.
//
//   auto publisher = once::kafka::OpenPublisher({.brokers = "localhost:9092"});
//
// acks=all and an idempotent producer: the client's own resends cause no duplicates and no
// reordering. A message whose outcome was kUnknown and that is published again may be stored twice:
// consumers tell by its id.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/kafka/properties.h"
#include "once/log.h"
#include "once/publisher.h"

namespace once::kafka {

struct PublisherOptions {
  std::string brokers;  // host:port, several by commas; required
  // The client gives up on a message after this time, whatever the caller's deadline was: nothing
  // is delivered later than this after a Publish() that returned kUnknown.
  absl::Duration delivery_timeout = absl::Seconds(30);
  // How long the client waits for more messages before it sends a batch. Publish() is called with
  // whole batches, so hardly at all.
  absl::Duration linger = absl::Milliseconds(1);
  Properties properties;
  std::shared_ptr<LogSink> log = JsonLog();
};

// kInvalidArgument, naming the field or property. Does not wait for the brokers.
//
// Without OutgoingMessage::partition the partition is murmur2 of the key, as Java clients choose
// it; messages without a key go anywhere. Destroying the publisher drops the messages whose
// Publish() has run into its deadline and that are not on their way yet.
absl::StatusOr<std::shared_ptr<Publisher>> OpenPublisher(PublisherOptions options);

}  // namespace once::kafka
