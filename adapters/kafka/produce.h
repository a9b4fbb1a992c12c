// One record into a librdkafka producer, and the settings that every producer of this adapter
// shares. Pure but for the client itself; safe for concurrent use.
#pragma once

#include <librdkafka/rdkafka.h>

#include <cstdint>
#include <string_view>

#include "absl/time/time.h"
#include "adapters/kafka/handles.h"
#include "adapters/kafka/settings.h"
#include "once/kafka/properties.h"
#include "once/publisher.h"

namespace once::kafka {

struct ProducerSettings {
  std::string_view brokers;
  absl::Duration linger;
  absl::Duration delivery_timeout;  // infinite: none
  const Properties& properties;
};

// Acknowledged by every in-sync replica, idempotent. README.md gives the reason for every value.
void ApplyProducerSettings(const ProducerSettings& from, Settings& settings);

struct ProduceRequest {
  const OutgoingMessage& message;
  std::int32_t partition = RD_KAFKA_PARTITION_UA;
  std::string_view stamp;             // a last header kSequenceHeader; empty: none
  rd_kafka_topic_t* topic = nullptr;  // null: by message.topic
  bool is_copied = true;              // false: the value's bytes stay where they are
  // A list that an earlier record had, whose memory this one's headers take; null: none.
  Owned<rd_kafka_headers_t>* spare = nullptr;
  void* opaque = nullptr;
};

// NO_ERROR: the client owns `opaque` until the record's report.
rd_kafka_resp_err_t Produce(rd_kafka_t* handle, const ProduceRequest& request);

}  // namespace once::kafka
