// librdkafka's C API, as far as the demonstration needs it besides once::kafka.
#include "src/cli/demo_broker.h"

#include <librdkafka/rdkafka_mock.h>

#include <array>
#include <functional>
#include <string_view>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::demo {
namespace {

constexpr int kAnswerMilliseconds = 10'000;
// Above what a real cluster accepts at least (group.min.session.timeout.ms, 6 s by default). It
// gives the partitions of a killed static member to the next one of that name at once.
constexpr absl::Duration kRealSession = absl::Seconds(10);

// Runs one admin request and gives its event. REQUIRES: `submit` puts one answer on the queue.
absl::StatusOr<rd_kafka_event_t*> Ask(
    rd_kafka_t* handle, std::string_view operation, rd_kafka_admin_op_t kind,
    const std::function<void(rd_kafka_AdminOptions_t*, rd_kafka_queue_t*)>& submit) {
  rd_kafka_AdminOptions_t* options = rd_kafka_AdminOptions_new(handle, kind);
  rd_kafka_queue_t* queue = rd_kafka_queue_new(handle);
  const absl::Cleanup destroy = [&] {
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
  };
  std::array<char, 256> reason{};
  rd_kafka_AdminOptions_set_operation_timeout(options, kAnswerMilliseconds, reason.data(),
                                              reason.size());
  submit(options, queue);
  rd_kafka_event_t* event = rd_kafka_queue_poll(queue, 2 * kAnswerMilliseconds);
  if (event == nullptr) {
    return absl::UnavailableError(absl::StrCat("kafka: ", ToAbsl(operation), ": no answer"));
  }
  if (const rd_kafka_resp_err_t error = rd_kafka_event_error(event)) {
    rd_kafka_event_destroy(event);
    return KafkaError(error, operation);
  }
  return event;
}

absl::Status FirstError(const rd_kafka_topic_result_t** results, std::size_t count,
                        std::string_view operation) {
  for (std::size_t i = 0; i < count; ++i) {
    if (rd_kafka_topic_result_error(results[i]) == RD_KAFKA_RESP_ERR_NO_ERROR) continue;
    const char* text = rd_kafka_topic_result_error_string(results[i]);
    return absl::InternalError(
        absl::StrCat("kafka: ", ToAbsl(operation), ": ", text != nullptr ? text : "refused"));
  }
  return absl::OkStatus();
}

absl::Status CreateTopics(rd_kafka_t* handle, const DemoTopics& topics) {
  constexpr int kBrokersDefault = -1;  // replication as the cluster has configured it
  constexpr std::string_view kOperation = "creating the demonstration's topics";
  std::array<char, 256> reason{};
  std::array<rd_kafka_NewTopic_t*, 2> wanted = {
      rd_kafka_NewTopic_new(topics.orders.c_str(), topics.partitions, kBrokersDefault,
                            reason.data(), reason.size()),
      rd_kafka_NewTopic_new(topics.dead_letters.c_str(), topics.partitions, kBrokersDefault,
                            reason.data(), reason.size())};
  const absl::Cleanup destroy = [&] {
    for (rd_kafka_NewTopic_t* topic : wanted) {
      if (topic != nullptr) rd_kafka_NewTopic_destroy(topic);
    }
  };
  if (wanted[0] == nullptr || wanted[1] == nullptr) {
    return absl::InvalidArgumentError(reason.data());
  }
  const absl::StatusOr<rd_kafka_event_t*> event =
      Ask(handle, kOperation, RD_KAFKA_ADMIN_OP_CREATETOPICS,
          [&](rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
            rd_kafka_CreateTopics(handle, wanted.data(), wanted.size(), options, queue);
          });
  if (!event.ok()) return event.status();
  const absl::Cleanup forget = [&] { rd_kafka_event_destroy(*event); };
  std::size_t count = 0;
  const rd_kafka_topic_result_t** results =
      rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(*event), &count);
  return FirstError(results, count, kOperation);
}

}  // namespace

void DestroyMock::operator()(rd_kafka_mock_cluster_s* cluster) const {
  rd_kafka_mock_cluster_destroy(cluster);
}

absl::StatusOr<std::unique_ptr<DemoBroker>> DemoBroker::StartEmbedded(const DemoTopics& topics) {
  std::unique_ptr<DemoBroker> broker(new DemoBroker);
  broker->topics_ = topics;
  absl::StatusOr<KafkaHandle> host = OpenHandle(RD_KAFKA_PRODUCER, {});
  if (!host.ok()) return host.status();
  broker->mock_host_ = *std::move(host);
  broker->mock_.reset(rd_kafka_mock_cluster_new(broker->mock_host_.get(), 1));
  if (broker->mock_ == nullptr) return absl::InternalError("kafka: the mock cluster did not start");
  for (const std::string& topic : {topics.orders, topics.dead_letters}) {
    const rd_kafka_resp_err_t error =
        rd_kafka_mock_topic_create(broker->mock_.get(), topic.c_str(), topics.partitions, 1);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return KafkaError(error, "creating " + topic);
  }
  broker->brokers_ = rd_kafka_mock_cluster_bootstraps(broker->mock_.get());
  if (absl::Status opened = broker->OpenClient(); !opened.ok()) return opened;
  if (absl::Status formed = broker->FormGroup(); !formed.ok()) return formed;
  return broker;
}

absl::Status DemoBroker::FormGroup() {
  if (!is_embedded()) return absl::OkStatus();
  mock_group_.reset();
  absl::StatusOr<MockGroup> group = MockGroup::Form(mock_.get(), topics_.group);
  if (!group.ok()) return group.status();
  mock_group_.emplace(*std::move(group));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<DemoBroker>> DemoBroker::Connect(const std::string& brokers,
                                                                const DemoTopics& topics) {
  std::unique_ptr<DemoBroker> broker(new DemoBroker);
  broker->topics_ = topics;
  broker->brokers_ = brokers;
  if (absl::Status opened = broker->OpenClient(); !opened.ok()) return opened;
  if (absl::Status made = CreateTopics(broker->client_.get(), topics); !made.ok()) return made;
  return broker;
}

absl::Status DemoBroker::OpenClient() {
  absl::StatusOr<KafkaHandle> client =
      OpenHandle(RD_KAFKA_PRODUCER, {{"bootstrap.servers", brokers_}});
  if (!client.ok()) return client.status();
  client_ = *std::move(client);
  char* id = rd_kafka_clusterid(client_.get(), kAnswerMilliseconds);
  if (id == nullptr) {
    return absl::UnavailableError(absl::StrCat("no Kafka broker answers at ", brokers_, " within ",
                                               kAnswerMilliseconds / 1000, " s"));
  }
  cluster_ = id;
  rd_kafka_mem_free(client_.get(), id);
  return absl::OkStatus();
}

absl::Duration DemoBroker::session_timeout() const {
  return is_embedded() ? kMockSession : kRealSession;
}

absl::StatusOr<std::vector<std::int64_t>> DemoBroker::EndOffsets(const std::string& topic) const {
  std::vector<std::int64_t> ends;
  for (std::int32_t partition = 0; partition < topics_.partitions; ++partition) {
    std::int64_t low = 0;
    std::int64_t high = 0;
    const rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(
        client_.get(), topic.c_str(), partition, &low, &high, kAnswerMilliseconds);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return KafkaError(error, "end of " + topic);
    ends.push_back(high);
  }
  return ends;
}

absl::Status DemoBroker::RemoveTopics() const {
  if (is_embedded()) return absl::OkStatus();
  constexpr std::string_view kOperation = "deleting the demonstration's topics";
  std::array<rd_kafka_DeleteTopic_t*, 2> topics = {
      rd_kafka_DeleteTopic_new(topics_.orders.c_str()),
      rd_kafka_DeleteTopic_new(topics_.dead_letters.c_str())};
  const absl::Cleanup destroy = [&] {
    rd_kafka_DeleteTopic_destroy_array(topics.data(), topics.size());
  };
  const absl::StatusOr<rd_kafka_event_t*> event =
      Ask(client_.get(), kOperation, RD_KAFKA_ADMIN_OP_DELETETOPICS,
          [&](rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
            rd_kafka_DeleteTopics(client_.get(), topics.data(), topics.size(), options, queue);
          });
  if (!event.ok()) return event.status();
  const absl::Cleanup forget = [&] { rd_kafka_event_destroy(*event); };
  std::size_t count = 0;
  const rd_kafka_topic_result_t** results =
      rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(*event), &count);
  return FirstError(results, count, kOperation);
}

}  // namespace once::demo
