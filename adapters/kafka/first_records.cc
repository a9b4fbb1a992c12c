// Gates of partitions.
#include "adapters/kafka/first_records.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace once::kafka {

FirstRecords::Entry FirstRecords::Enter(const OutgoingRecord& record, absl::Time give_up_at) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Gate& gate = gates_[{record.message.topic, record.partition}];
  if (gate.held.empty() && gate.is_known) return Entry::kGo;
  if (gate.held.empty() && !gate.has_first) {
    gate.has_first = true;
    ++firsts_;
    return Entry::kFirst;
  }
  const std::size_t bytes = SizeBytes(record.message);
  if (held_bytes_ + bytes > held_bytes_max_) return Entry::kFull;
  gate.held.push_back({.message = record.message,
                       .partition = record.partition,
                       .stamp = std::string(record.stamp),
                       .cookie = record.cookie,
                       .is_copied = record.is_copied,
                       .give_up_at = give_up_at});
  held_bytes_ += bytes;
  has_work_ = true;
  return Entry::kHeld;
}

void FirstRecords::Settle(const std::string& topic, std::int32_t partition, bool is_stored) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = gates_.find({topic, partition});
  if (found == gates_.end() || !found->second.has_first) return;
  found->second.has_first = false;
  found->second.is_known = is_stored;
  --firsts_;
  has_work_ = true;
}

// REQUIRES: SizeBytes() of the first one, as it was when it came.
void FirstRecords::Drop(Gate& gate, std::size_t bytes) {
  held_bytes_ -= bytes;
  gate.held.pop_front();
}

void FirstRecords::TendGate(Gate& gate, const Turn& turn) {
  while (!gate.held.empty() && gate.held.front().give_up_at <= turn.now) {
    Held& late = gate.held.front();
    const std::size_t bytes = SizeBytes(late.message);
    turn.tell(late, absl::UnavailableError("kafka: not sent in time: none before it in its "
                                           "partition was acknowledged"));
    Drop(gate, bytes);
  }
  while (!gate.held.empty() && !gate.has_first) {
    Held& next = gate.held.front();
    const std::size_t bytes = SizeBytes(next.message);
    // Its report may come before this thread goes on.
    if (!gate.is_known) {
      gate.has_first = true;
      ++firsts_;
    }
    const absl::Status sent = turn.send(next);
    if (!sent.ok() && gate.has_first) {
      gate.has_first = false;
      --firsts_;
    }
    if (absl::IsResourceExhausted(sent)) return;
    if (!sent.ok()) turn.tell(next, sent);
    Drop(gate, bytes);
  }
}

void FirstRecords::Tend(const Turn& turn) {
  const std::lock_guard<std::mutex> lock(mutex_);
  has_work_ = false;
  for (Held& held : std::exchange(given_up_, {})) {
    held_bytes_ -= SizeBytes(held.message);
    turn.tell(held, absl::UnavailableError("kafka: given up before it was sent"));
  }
  for (auto& [place, gate] : gates_) {
    TendGate(gate, turn);
    if (!gate.held.empty()) {
      has_work_ = true;
    } else if (gate.is_known) {
      turn.open(place.first, place.second);
    }
  }
}

void FirstRecords::GiveUp() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto& [place, gate] : gates_) {
    std::move(gate.held.begin(), gate.held.end(), std::back_inserter(given_up_));
    gate.held.clear();
  }
  if (!given_up_.empty()) has_work_ = true;
}

}  // namespace once::kafka
