// librdkafka's error codes as statuses.
#pragma once

#include <librdkafka/rdkafka.h>

#include <string_view>

#include "absl/status/status.h"

namespace once::kafka {

// The broker or the client says that we may not do this, and will keep saying so.
bool IsRefusal(rd_kafka_resp_err_t error);

// The group has gone on without this member: whatever it wants to commit is void.
bool IsFenced(rd_kafka_resp_err_t error);

// For consumer and admin calls: "kafka: `operation`: <text>".
absl::Status ToStatus(rd_kafka_resp_err_t error, std::string_view operation,
                      std::string_view detail = {});

// What became of a produced message, by the contract of once::Publisher: `persisted` is what
// librdkafka knows of it.
absl::Status DeliveryStatus(rd_kafka_resp_err_t error, rd_kafka_msg_status_t persisted,
                            std::string_view topic);
// The same of a delivery report. One without an error and without an offset is kUnknown: librdkafka
// says of a batch that it is stored as soon as a later one of its partition is, also where the
// broker has refused the earlier one. Only a broker's own answer has an offset.
absl::Status DeliveryStatus(const rd_kafka_message_t& report);

}  // namespace once::kafka
