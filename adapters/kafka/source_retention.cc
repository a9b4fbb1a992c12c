// How long a topic keeps its records, by its configuration.
#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "adapters/kafka/errors.h"
#include "adapters/kafka/handles.h"
#include "adapters/kafka/log_source.h"
#include "once/abseil.h"

namespace once::kafka {
namespace {

constexpr absl::Duration kQuestionTime = absl::Seconds(2);

using Configuration = std::map<std::string, std::string, std::less<>>;

absl::StatusOr<Configuration> ConfigurationIn(rd_kafka_event_t* event,
                                              const std::string& question) {
  rd_kafka_resp_err_t error = rd_kafka_event_error(event);
  std::string detail = rd_kafka_event_error_string(event);
  const rd_kafka_DescribeConfigs_result_t* result = rd_kafka_event_DescribeConfigs_result(event);
  std::size_t count = 0;
  const rd_kafka_ConfigResource_t** resources =
      result == nullptr ? nullptr : rd_kafka_DescribeConfigs_result_resources(result, &count);
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR && count > 0) {
    error = rd_kafka_ConfigResource_error(resources[0]);
    const char* text = rd_kafka_ConfigResource_error_string(resources[0]);
    detail = text == nullptr ? "" : text;
  }
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR && count == 0) {
    return absl::InternalError(absl::StrCat("kafka: ", question, ": the answer is empty"));
  }
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return ToStatus(error, question, detail);
  Configuration configuration;
  std::size_t entries = 0;
  const rd_kafka_ConfigEntry_t** found = rd_kafka_ConfigResource_configs(resources[0], &entries);
  for (std::size_t i = 0; i < entries; ++i) {
    const char* value = rd_kafka_ConfigEntry_value(found[i]);
    if (value != nullptr) configuration[rd_kafka_ConfigEntry_name(found[i])] = value;
  }
  return configuration;
}

// Of the values of cleanup.policy, which are separated by commas.
bool HasPolicy(const std::string& policies, std::string_view wanted) {
  const std::vector<std::string> each = absl::StrSplit(policies, ',');
  return std::find(each.begin(), each.end(), wanted) != each.end();
}

absl::StatusOr<absl::Duration> RetentionIn(const Configuration& configuration,
                                           const std::string& question) {
  const auto policy = configuration.find("cleanup.policy");
  const auto retention = configuration.find("retention.ms");
  const auto segment = configuration.find("segment.ms");
  std::int64_t kept_ms = 0;
  std::int64_t segment_ms = 0;
  if (policy == configuration.end() || retention == configuration.end() ||
      segment == configuration.end() || !absl::SimpleAtoi(retention->second, &kept_ms) ||
      !absl::SimpleAtoi(segment->second, &segment_ms)) {
    return absl::InternalError(absl::StrCat("kafka: ", question, ": the answer lacks it"));
  }
  const bool is_deleted = HasPolicy(policy->second, "delete");
  // A topic that is only compacted keeps the newest record of a key whatever its age.
  if (!is_deleted || kept_ms < 0) return absl::InfiniteDuration();
  // Records go with their segment, which may be open for so long.
  return absl::Milliseconds(kept_ms) + absl::Milliseconds(segment_ms);
}

absl::StatusOr<Configuration> AskForConfiguration(rd_kafka_t* handle, std::string_view topic,
                                                  const std::string& question) {
  const int wait = static_cast<int>(absl::ToInt64Milliseconds(kQuestionTime));
  std::array<char, 512> reason{};
  const Owned<rd_kafka_AdminOptions_t> options(
      rd_kafka_AdminOptions_new(handle, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS));
  rd_kafka_AdminOptions_set_request_timeout(options.get(), wait, reason.data(), reason.size());
  const Owned<rd_kafka_ConfigResource_t> resource(
      rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, std::string(topic).c_str()));
  const Owned<rd_kafka_queue_t> replies(rd_kafka_queue_new(handle));
  rd_kafka_ConfigResource_t* resources = resource.get();
  rd_kafka_DescribeConfigs(handle, &resources, 1, options.get(), replies.get());
  const Owned<rd_kafka_event_t> event(rd_kafka_queue_poll(replies.get(), wait + 500));
  if (event == nullptr) {
    return absl::DeadlineExceededError(absl::StrCat("kafka: ", question, ": no answer"));
  }
  return ConfigurationIn(event.get(), question);
}

}  // namespace

absl::StatusOr<absl::Duration> KafkaLogSource::ReadRetention(std::string_view topic) {
  if (absl::Status status = CheckUsable(); !status.ok()) return status;
  const std::string question = absl::StrCat("asking for the retention of ", ToAbsl(topic));
  const absl::StatusOr<Configuration> configuration =
      AskForConfiguration(client_->handle(), topic, question);
  if (!configuration.ok()) return configuration.status();
  return RetentionIn(*configuration, question);
}

absl::StatusOr<bool> KafkaLogSource::IsCompacted(std::string_view topic) {
  if (absl::Status status = CheckUsable(); !status.ok()) return status;
  const std::string question = absl::StrCat("asking whether ", ToAbsl(topic), " is compacted");
  const absl::StatusOr<Configuration> configuration =
      AskForConfiguration(client_->handle(), topic, question);
  if (!configuration.ok()) return configuration.status();
  const auto policy = configuration->find("cleanup.policy");
  if (policy == configuration->end()) {
    return absl::InternalError(absl::StrCat("kafka: ", question, ": the answer lacks it"));
  }
  return HasPolicy(policy->second, "compact");
}

}  // namespace once::kafka
