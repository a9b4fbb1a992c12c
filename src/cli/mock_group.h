// A MockGroup makes consumer groups of librdkafka's mock cluster usable for a consumer that is
// killed and started again. Two properties of the mock stand in the way (rdkafka_mock_cgrp.c,
// 2.0.2):
//
//   - A group without members waits 3 s for the first ones to join, and meanwhile expels those
//     whose session is shorter; they are never told.
//   - It knows no static membership, keeps dead members until their session has timed out, and
//     makes the longest-standing member the leader, even a dead one: then nobody gets any
//     partitions.
//
// So a member of our own, the anchor, joins first and stays: it leads, and the group never becomes
// empty. It subscribes to a topic of its own and takes none of the others' partitions. All members
// must use the assignment strategy "range", whose name the mock takes for granted.
//
// Sessions are short, so a machine that stands still for a second may expel all members at once.
// Then the group must be formed again; expelled members come back by themselves.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "src/cli/kafka_handle.h"

// rd_kafka_mock_cluster_t; declared here to keep <librdkafka/rdkafka_mock.h> out of headers.
struct rd_kafka_mock_cluster_s;

namespace once::demo {

// Of every member. A new member gets partitions after the session less 1 s, and those of a dead one
// are free after the session plus up to 1 s.
inline constexpr absl::Duration kMockSession = absl::Milliseconds(1'250);

// What every member must set besides, by librdkafka's names: when somebody joins, the others have
// those 250 ms to notice it by a heartbeat and to join again, or else it takes seconds. The client
// thinks of heartbeats only when its main thread has something to do, which is rarely: the
// statistics, that nobody receives, wake it up.
std::vector<std::pair<std::string, std::string>> MockMemberProperties();

class MockGroup {
 public:
  // Takes 3 s, with luck. `cluster` must outlive the group.
  static absl::StatusOr<MockGroup> Form(rd_kafka_mock_cluster_s* cluster, const std::string& group);

 private:
  explicit MockGroup(KafkaHandle anchor) : anchor_(std::move(anchor)) {}

  KafkaHandle anchor_;
};

}  // namespace once::demo
