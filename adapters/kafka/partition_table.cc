// State changes of assigned partitions.
#include "adapters/kafka/partition_table.h"

#include <algorithm>

namespace once::kafka {

PartitionState* PartitionTable::Find(std::string_view topic, std::int32_t partition) {
  const auto found = partitions_.find(Name{topic, partition});
  return found == partitions_.end() ? nullptr : &found->second;
}

Assignment PartitionTable::Assign(std::vector<TopicPartition> partitions) {
  Assignment assignment = {.number = ++assignments_, .partitions = std::move(partitions)};
  for (const TopicPartition& partition : assignment.partitions) {
    partitions_[partition] = {.assignment = assignment.number, .changed = ++tick_};
  }
  return assignment;
}

void PartitionTable::Start(PartitionState& state, std::int64_t position) {
  state.phase = Phase::kStarting;
  state.position = position;
  state.changed = ++tick_;
  state.refused_starts = 0;
}

void PartitionTable::Idle(PartitionState& state) {
  state.phase = Phase::kIdle;
  state.changed = ++tick_;
}

void PartitionTable::RestartRunning() {
  for (auto& [name, state] : partitions_) {
    if (state.phase == Phase::kRunning) Start(state, state.position);
  }
}

bool PartitionTable::is_starting() const {
  return std::any_of(partitions_.begin(), partitions_.end(),
                     [](const auto& entry) { return entry.second.phase == Phase::kStarting; });
}

std::vector<TopicPartition> PartitionTable::names() const {
  std::vector<TopicPartition> names;
  names.reserve(partitions_.size());
  for (const auto& [name, state] : partitions_) names.push_back(name);
  return names;
}

}  // namespace once::kafka
