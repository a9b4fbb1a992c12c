// Which partition a message goes to, chosen before it is numbered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace once {

// MurmurHash2 (32 bits) with the seed of Kafka's Java client, org.apache.kafka.common.utils.Utils.
std::uint32_t Murmur2(std::string_view bytes);

// Where Java clients and librdkafka's murmur2 partitioners send a key. REQUIRES: partitions > 0.
std::int32_t PartitionOfKey(std::string_view key, std::int32_t partitions);

// The partition of messages without a key: one at a time, so that batches are large. Thread-safety:
// none.
class StickyPartition {
 public:
  // REQUIRES: partitions > 0, messages > 0. `draw` gives a number for a change.
  template <typename NextRandom>
  std::int32_t Take(std::int32_t partitions, std::size_t messages, NextRandom&& draw) {
    if (left_ == 0 || partition_ >= partitions) {
      partition_ = static_cast<std::int32_t>(draw() % static_cast<std::uint64_t>(partitions));
      left_ = messages;
    }
    --left_;
    return partition_;
  }

 private:
  std::int32_t partition_ = 0;
  std::size_t left_ = 0;
};

}  // namespace once
