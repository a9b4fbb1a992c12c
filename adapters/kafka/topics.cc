// Metadata and admin requests.
#include "adapters/kafka/topics.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/errors.h"
#include "adapters/kafka/handles.h"
#include "once/abseil.h"

namespace once::kafka {
namespace {

constexpr absl::Duration kTopicTimeout = absl::Seconds(10);

// A broker that has answered that a topic is created may list it only a moment later (its metadata
// follow the controller's log): one that is not listed is looked for again for so long.
constexpr absl::Duration kListingLag = absl::Seconds(2);
constexpr absl::Duration kListingPause = absl::Milliseconds(50);

int Milliseconds(absl::Time deadline) {
  const absl::Duration left = std::min(deadline - absl::Now(), kTopicTimeout);
  return static_cast<int>(std::max<std::int64_t>(absl::ToInt64Milliseconds(left), 1));
}

// The error of the one topic in a CreateTopics result.
absl::Status ResultOf(rd_kafka_event_t* event, const NewTopic& topic) {
  const std::string operation = absl::StrCat("creating the ", ToAbsl(topic.kind), " ", topic.name);
  rd_kafka_resp_err_t error = rd_kafka_event_error(event);
  std::string detail = rd_kafka_event_error_string(event);
  const rd_kafka_CreateTopics_result_t* result = rd_kafka_event_CreateTopics_result(event);
  std::size_t count = 0;
  const rd_kafka_topic_result_t** topics =
      result == nullptr ? nullptr : rd_kafka_CreateTopics_result_topics(result, &count);
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR && count > 0) {
    error = rd_kafka_topic_result_error(topics[0]);
    const char* text = rd_kafka_topic_result_error_string(topics[0]);
    detail = text == nullptr ? "" : text;
  }
  if (error == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) return absl::OkStatus();
  absl::Status status = ToStatus(error, operation, detail);
  if (!IsRefusal(error)) return status;
  return absl::InvalidArgumentError(status.message());  // no retry can help
}

}  // namespace

absl::StatusOr<std::map<std::string, std::int32_t>> ListTopics(rd_kafka_t* handle,
                                                               absl::Time deadline) {
  const rd_kafka_metadata_t* raw = nullptr;
  const rd_kafka_resp_err_t error =
      rd_kafka_metadata(handle, /*all_topics=*/1, nullptr, &raw, Milliseconds(deadline));
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return ToStatus(error, "listing topics");
  const Owned<const rd_kafka_metadata_t> metadata(raw);
  std::map<std::string, std::int32_t> topics;
  for (int i = 0; i < metadata->topic_cnt; ++i) {
    const rd_kafka_metadata_topic_t& topic = metadata->topics[i];
    if (topic.err == RD_KAFKA_RESP_ERR_NO_ERROR) topics[topic.topic] = topic.partition_cnt;
  }
  return topics;
}

absl::StatusOr<std::map<std::string, std::int32_t>> ListTopicsWith(const std::string& wanted,
                                                                   rd_kafka_t* handle,
                                                                   absl::Time deadline) {
  const absl::Time given_up = std::min(deadline, absl::Now() + kListingLag);
  while (true) {
    auto topics = ListTopics(handle, deadline);
    if (!topics.ok() || topics->contains(wanted) || absl::Now() >= given_up) return topics;
    absl::SleepFor(kListingPause);
  }
}

absl::Status CreateTopic(const NewTopic& topic, rd_kafka_t* handle, absl::Time deadline) {
  std::array<char, 512> reason{};
  const Owned<rd_kafka_NewTopic_t> created(rd_kafka_NewTopic_new(
      topic.name.c_str(), topic.partitions, topic.replication, reason.data(), reason.size()));
  if (created == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("kafka: ", ToAbsl(topic.kind), " ", topic.name, ": ", reason.data()));
  }
  for (const auto& [name, value] : topic.configuration) {
    rd_kafka_NewTopic_set_config(created.get(), name.c_str(), value.c_str());
  }
  const int wait = Milliseconds(deadline);
  const Owned<rd_kafka_AdminOptions_t> options(
      rd_kafka_AdminOptions_new(handle, RD_KAFKA_ADMIN_OP_CREATETOPICS));
  rd_kafka_AdminOptions_set_request_timeout(options.get(), wait, reason.data(), reason.size());
  // The broker answers once the topic can be used.
  rd_kafka_AdminOptions_set_operation_timeout(options.get(), wait, reason.data(), reason.size());
  const Owned<rd_kafka_queue_t> replies(rd_kafka_queue_new(handle));
  rd_kafka_NewTopic_t* topics = created.get();
  rd_kafka_CreateTopics(handle, &topics, 1, options.get(), replies.get());
  const Owned<rd_kafka_event_t> event(rd_kafka_queue_poll(replies.get(), wait + 1000));
  if (event == nullptr) {
    return absl::DeadlineExceededError(
        absl::StrCat("kafka: creating the ", ToAbsl(topic.kind), " ", topic.name, ": no answer"));
  }
  return ResultOf(event.get(), topic);
}

}  // namespace once::kafka
