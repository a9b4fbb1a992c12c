// librdkafka's mock cluster: one broker inside the process, whose answers a test may choose.
// Thread-safety: as the mock cluster's functions, which lock.
#pragma once

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace once::kafka::testing {

class MockBroker {
 public:
  // Kafka's number of the request: https://kafka.apache.org/protocol#protocol_api_keys
  static constexpr std::int16_t kProduce = 0;
  static constexpr std::int16_t kFindCoordinator = 10;

  MockBroker() {
    std::array<char, 512> reason{};
    handle_ = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), reason.data(), reason.size());
    cluster_ = rd_kafka_mock_cluster_new(handle_, 1);
  }
  ~MockBroker() {
    rd_kafka_mock_cluster_destroy(cluster_);
    rd_kafka_destroy(handle_);
  }
  MockBroker(const MockBroker&) = delete;
  MockBroker& operator=(const MockBroker&) = delete;

  std::string brokers() const { return rd_kafka_mock_cluster_bootstraps(cluster_); }
  void CreateTopic(const std::string& topic, int partitions) {
    rd_kafka_mock_topic_create(cluster_, topic.c_str(), partitions, 1);
  }
  // The next requests of this kind get these answers.
  void Fail(std::int16_t request, const std::vector<rd_kafka_resp_err_t>& errors) {
    rd_kafka_mock_push_request_errors_array(cluster_, request, errors.size(), errors.data());
  }
  // How long every answer takes.
  void Delay(int milliseconds) { rd_kafka_mock_broker_set_rtt(cluster_, 1, milliseconds); }
  // False: nobody can connect, and connections are closed.
  void SetUp(bool is_up) {
    is_up ? rd_kafka_mock_broker_set_up(cluster_, 1) : rd_kafka_mock_broker_set_down(cluster_, 1);
  }

 private:
  rd_kafka_t* handle_ = nullptr;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
};

}  // namespace once::kafka::testing
