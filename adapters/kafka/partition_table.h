// The PartitionTable is what a source knows of its assigned partitions: to which assignment they
// belong, what the engine wants of them, how far the client has been told, and from which offset on
// messages may be delivered. It is pure: no client, no clock.
//
// The client's queue may hold messages from before a rebalance, a seek or a pause. Every such
// change takes a new tick; a fetch notes the tick before it begins, and a message whose partition
// has changed since is not delivered.
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "once/position.h"
#include "once/source.h"

namespace once::kafka {

enum class Phase : std::uint8_t {
  kIdle,      // assigned, not started or paused: nothing is delivered
  kStarting,  // to be delivered from `position`; the client does not know yet
  kRunning
};

struct PartitionState {
  std::uint64_t assignment = 0;
  Phase phase = Phase::kIdle;
  std::int64_t position = 0;     // offset of the next message, in kStarting and kRunning
  std::uint64_t changed = 0;     // tick of the last change
  bool client_has = false;       // the client was told to fetch it
  bool client_paused = false;    // and then to pause
  bool fetcher_stopped = false;  // the client gave up fetching: only a new assign call helps
  int refused_starts = 0;        // in a row
};

class PartitionTable {
 public:
  using Name = std::pair<std::string_view, std::int32_t>;
  struct Less {
    using is_transparent = void;
    static Name View(const TopicPartition& partition) {
      return {partition.topic, partition.partition};
    }
    static Name View(const Name& name) { return name; }
    template <typename L, typename R>
    bool operator()(const L& left, const R& right) const {
      return View(left) < View(right);
    }
  };
  using Map = std::map<TopicPartition, PartitionState, Less>;

  // Null when the partition is not assigned. Valid until it is removed.
  PartitionState* Find(std::string_view topic, std::int32_t partition);
  PartitionState* Find(const TopicPartition& partition) {
    return Find(partition.topic, partition.partition);
  }

  // A new assignment, with the number after the last one's. Partitions that were there begin anew.
  Assignment Assign(std::vector<TopicPartition> partitions);
  void Remove(const TopicPartition& partition) { partitions_.erase(partition); }
  void Clear() { partitions_.clear(); }

  void Start(PartitionState& state, std::int64_t position);
  void Idle(PartitionState& state);
  // Running partitions must be sought again, to where they are.
  void RestartRunning();

  std::uint64_t tick() const { return tick_; }
  bool empty() const { return partitions_.empty(); }
  bool is_starting() const;  // any of them
  Map& partitions() { return partitions_; }
  std::vector<TopicPartition> names() const;

 private:
  Map partitions_;
  std::uint64_t tick_ = 0;
  std::uint64_t assignments_ = 0;
};

}  // namespace once::kafka
