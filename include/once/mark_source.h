// A MarkSource reads the side topics in which producers say how far their streams have come and
// which numbers they have given up (sequence.h). Every instance of a consumer reads all of them,
// outside of its group. Kafka's is kafka::OpenMarks.
//
// Thread-safety: every call from one thread, the consumer's polling one.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace once {

struct ReceivedMark {
  std::string topic;  // the one that is marked, not the side topic
  std::string key;
  std::string value;
};

class MarkSource {
 public:
  virtual ~MarkSource() = default;

  // From now on: the side topics of these topics, each from its oldest record on, whatever was read
  // before. A side topic that does not exist is read once it does. Blocks for at most a few
  // seconds; kUnavailable: try again.
  virtual absl::Status Follow(std::span<const std::string> topics) = 0;

  // What has arrived, in any order, at most `records_max`. Does not wait.
  virtual absl::StatusOr<std::vector<ReceivedMark>> Poll(std::size_t records_max) = 0;

  // Whether everything has been handed out that was there at Follow(): before that a number that is
  // missing may have been given up.
  virtual bool has_caught_up() const = 0;
};

}  // namespace once
