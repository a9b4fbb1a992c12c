// The DemoBroker is the Kafka of the demonstration: librdkafka's mock cluster inside this process,
// or a real cluster, on which it makes topics of its own.
// Thread-safety: safe for concurrent use.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "src/cli/kafka_handle.h"
#include "src/cli/mock_group.h"

namespace once::demo {

struct DestroyMock {
  void operator()(rd_kafka_mock_cluster_s* cluster) const;
};

struct DemoTopics {
  std::string group;
  std::string orders;
  std::string dead_letters;
  std::int32_t partitions = 6;  // of both
};

class DemoBroker {
 public:
  // Both create the topics. The embedded one takes 3 s, see MockGroup; kUnavailable when no broker
  // answers.
  static absl::StatusOr<std::unique_ptr<DemoBroker>> StartEmbedded(const DemoTopics& topics);
  static absl::StatusOr<std::unique_ptr<DemoBroker>> Connect(const std::string& brokers,
                                                             const DemoTopics& topics);

  const DemoTopics& topics() const { return topics_; }
  const std::string& brokers() const { return brokers_; }
  // The cluster's own id.
  const std::string& cluster() const { return cluster_; }
  bool is_embedded() const { return mock_ != nullptr; }
  // Forms the consumer group of an embedded broker again; see MockGroup. Takes some seconds.
  absl::Status FormGroup();
  // What consumers of this broker should use.
  absl::Duration session_timeout() const;

  // One past the newest message, per partition.
  absl::StatusOr<std::vector<std::int64_t>> EndOffsets(const std::string& topic) const;

  // Deletes the topics that this object has made on a real cluster.
  absl::Status RemoveTopics() const;

 private:
  DemoBroker() = default;
  absl::Status OpenClient();

  DemoTopics topics_;
  std::string brokers_;
  std::string cluster_;
  KafkaHandle mock_host_;
  std::unique_ptr<rd_kafka_mock_cluster_s, DestroyMock> mock_;  // after its host
  KafkaHandle client_;
  std::optional<MockGroup> mock_group_;
};

}  // namespace once::demo
