// How a partition is written in logs and errors.
#include "once/position.h"

namespace once {

std::string ToString(const TopicPartition& partition) {
  return partition.topic + "[" + std::to_string(partition.partition) + "]";
}

}  // namespace once
