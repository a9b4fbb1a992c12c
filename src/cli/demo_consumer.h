// The consumer of the demonstration: a process of its own, which is killed again and again. It is
// what a user would write, plus a ProgressBoard on which its parent sees how far it is.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace once::demo {

inline constexpr const char* kDemoConsumerCommand = "demo-consumer";

struct DemoConsumerOptions {
  std::string brokers;
  std::string cluster;  // its id, as the store's position rows have it
  std::string group;
  std::string topic;
  std::int32_t partitions = 0;
  std::string store_path;
  std::int64_t session_timeout_ms = 0;
  bool is_embedded = false;  // the broker: see MockMemberProperties()
  pid_t parent = 0;
};

// The arguments that make `once` run this consumer, and the flags main() parses them with.
std::vector<std::string> ToArguments(const DemoConsumerOptions& options);

// Consumes until SIGTERM. OK after a clean stop.
absl::Status RunDemoConsumer(const DemoConsumerOptions& options);

}  // namespace once::demo
