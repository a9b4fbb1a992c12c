// Opens librdkafka clients.
#include "src/cli/kafka_handle.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::demo {

absl::StatusOr<KafkaHandle> OpenHandle(
    rd_kafka_type_t type, const std::vector<std::pair<std::string, std::string>>& settings) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  rd_kafka_conf_set_log_cb(
      conf, +[](const rd_kafka_t*, int, const char*, const char*) {});
  std::array<char, 512> reason{};
  for (const auto& [name, value] : settings) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), reason.data(), reason.size()) !=
        RD_KAFKA_CONF_OK) {
      rd_kafka_conf_destroy(conf);
      return absl::InvalidArgumentError(reason.data());
    }
  }
  rd_kafka_t* handle = rd_kafka_new(type, conf, reason.data(), reason.size());
  if (handle == nullptr) {
    rd_kafka_conf_destroy(conf);
    return absl::InvalidArgumentError(reason.data());
  }
  return KafkaHandle(handle);
}

absl::Status KafkaError(rd_kafka_resp_err_t error, std::string_view operation) {
  return absl::InternalError(
      absl::StrCat("kafka: ", ToAbsl(operation), ": ", rd_kafka_err2str(error)));
}

}  // namespace once::demo
