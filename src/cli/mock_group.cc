// How the anchor gets into an empty group.
#include "src/cli/mock_group.h"

#include <librdkafka/rdkafka_mock.h>

#include <cstdint>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace once::demo {
namespace {

constexpr const char* kAnchorTopic = "once-demo-anchor";
constexpr std::int16_t kJoinGroupApi = 11;  // https://kafka.apache.org/protocol#protocol_api_keys
constexpr int kAnchorPartitions = 16;       // one for every candidate
constexpr absl::Duration kJoinInterval = absl::Milliseconds(400);
constexpr absl::Duration kLookInterval = absl::Milliseconds(10);
constexpr absl::Duration kLeaveTime = absl::Milliseconds(400);
constexpr absl::Duration kPatience = absl::Seconds(20);

absl::StatusOr<KafkaHandle> Join(const std::string& brokers, const std::string& group) {
  // Nobody polls it, so it must not mind: partitions are assigned by the client itself when no
  // rebalance callback is set.
  std::vector<std::pair<std::string, std::string>> settings = MockMemberProperties();
  settings.insert(settings.end(),
                  {{"bootstrap.servers", brokers},
                   {"group.id", group},
                   {"partition.assignment.strategy", "range"},
                   {"session.timeout.ms", absl::StrCat(absl::ToInt64Milliseconds(kMockSession))},
                   {"max.poll.interval.ms", "86400000"},
                   {"enable.auto.commit", "false"}});
  absl::StatusOr<KafkaHandle> member = OpenHandle(RD_KAFKA_CONSUMER, settings);
  if (!member.ok()) return member.status();
  rd_kafka_topic_partition_list_t* topics = rd_kafka_topic_partition_list_new(1);
  const absl::Cleanup destroy = [&] { rd_kafka_topic_partition_list_destroy(topics); };
  rd_kafka_topic_partition_list_add(topics, kAnchorTopic, RD_KAFKA_PARTITION_UA);
  const rd_kafka_resp_err_t error = rd_kafka_subscribe(member->get(), topics);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return KafkaError(error, "joining group " + group);
  return member;
}

bool HasPartitions(rd_kafka_t* member) {
  rd_kafka_topic_partition_list_t* partitions = nullptr;
  if (rd_kafka_assignment(member, &partitions) != RD_KAFKA_RESP_ERR_NO_ERROR) return false;
  const bool has_some = partitions->cnt > 0;
  rd_kafka_topic_partition_list_destroy(partitions);
  return has_some;
}

// Gives `chosen` and lets the others leave.
KafkaHandle Elect(std::vector<KafkaHandle>& candidates, KafkaHandle& chosen) {
  KafkaHandle anchor = std::move(chosen);
  for (KafkaHandle& candidate : candidates) {
    if (candidate != nullptr) rd_kafka_unsubscribe(candidate.get());
  }
  absl::SleepFor(kLeaveTime);
  candidates.clear();
  return anchor;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> MockMemberProperties() {
  return {{"heartbeat.interval.ms", "50"}, {"statistics.interval.ms", "50"}};
}

absl::StatusOr<MockGroup> MockGroup::Form(rd_kafka_mock_cluster_s* cluster,
                                          const std::string& group) {
  // It exists already when the group is formed again.
  rd_kafka_mock_topic_create(cluster, kAnchorTopic, kAnchorPartitions, 1);
  // In version 0 of the request a client waits for its session and 3 s more, instead of
  // max.poll.interval.ms: so a member that was expelled while it joined tries again soon.
  rd_kafka_mock_set_apiversion(cluster, kJoinGroupApi, 0, 0);
  const std::string brokers = rd_kafka_mock_cluster_bootstraps(cluster);
  // Candidates join one after the other. Whenever the 3 s end, the last few of them are young
  // enough to be still there; the eldest of those stays.
  std::vector<KafkaHandle> candidates;
  const absl::Time deadline = absl::Now() + kPatience;
  absl::Time next_join = absl::Now();
  while (absl::Now() < deadline) {
    if (absl::Now() >= next_join && candidates.size() < kAnchorPartitions) {
      next_join = absl::Now() + kJoinInterval;
      absl::StatusOr<KafkaHandle> candidate = Join(brokers, group);
      if (!candidate.ok()) return candidate.status();
      candidates.push_back(*std::move(candidate));
    }
    for (KafkaHandle& candidate : candidates) {
      if (HasPartitions(candidate.get())) return MockGroup(Elect(candidates, candidate));
    }
    absl::SleepFor(kLookInterval);
  }
  return absl::InternalError("the mock cluster's consumer group does not form");
}

}  // namespace once::demo
