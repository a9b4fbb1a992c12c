// What topics there are, and making new ones. All calls block until the brokers have answered, at
// most until their deadline. Safe for concurrent use.
#pragma once

#include <librdkafka/rdkafka.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace once::kafka {

// Partition counts by topic. All topics are asked for: asking for one by name may create it, with
// the broker's default partition count, where the broker creates topics by itself.
absl::StatusOr<std::map<std::string, std::int32_t>> ListTopics(rd_kafka_t* handle,
                                                               absl::Time deadline);

// The topics, once `wanted` is among them or is taken to be missing.
absl::StatusOr<std::map<std::string, std::int32_t>> ListTopicsWith(const std::string& wanted,
                                                                   rd_kafka_t* handle,
                                                                   absl::Time deadline);

struct NewTopic {
  std::string name;
  std::string_view kind;  // for errors: "dead letter topic"
  std::int32_t partitions = 1;
  std::int16_t replication = -1;  // -1: the broker's default.replication.factor
  std::vector<std::pair<std::string, std::string>> configuration = {};
};

// OK also when it exists. kInvalidArgument: no retry can help.
absl::Status CreateTopic(const NewTopic& topic, rd_kafka_t* handle, absl::Time deadline);

}  // namespace once::kafka
