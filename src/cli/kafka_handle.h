// What the demonstration needs of librdkafka besides once::kafka: owned handles, errors as
// statuses.
#pragma once

#include <librdkafka/rdkafka.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace once::demo {

// A consumer is dropped without leaving its group: leaving may wait for ever.
struct DestroyHandle {
  void operator()(rd_kafka_t* handle) const {
    rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
  }
};
using KafkaHandle = std::unique_ptr<rd_kafka_t, DestroyHandle>;

// By librdkafka's names. kInvalidArgument for what it refuses. The client logs nothing: whatever
// matters comes back from a call, and log lines would break the progress display.
absl::StatusOr<KafkaHandle> OpenHandle(
    rd_kafka_type_t type, const std::vector<std::pair<std::string, std::string>>& settings);

// REQUIRES: error is one.
absl::Status KafkaError(rd_kafka_resp_err_t error, std::string_view operation);

}  // namespace once::demo
