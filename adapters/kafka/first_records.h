// FirstRecords lets one record into each partition alone, and holds back those behind it until that
// one is stored.
//
// Why: a broker takes the first batch of a producer that it does not know in a partition, whatever
// its number (Kafka 4.3.1, ProducerAppendInfo.checkSequence). If that was the second one, since the
// first was refused for a reason that passes (a partition whose leader has just been chosen), then
// librdkafka takes the stored second one as proof that the first is stored too, and reports it so.
// Once a broker knows the producer, it refuses what is not next.
//
// What is held is copied: it waits for one round trip, mostly. Bounded in bytes here, in records by
// the caller.
// Thread-safety: safe for concurrent use.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/record_client.h"

namespace once::kafka {

// Partitions of one topic that hold nothing back, without a lock for the first so many of them.
class OpenGates {
 public:
  bool is_open(std::int32_t partition) const {
    return IsSmall(partition) && open_[At(partition)].load(std::memory_order_acquire);
  }
  void Open(std::int32_t partition) {
    if (IsSmall(partition)) open_[At(partition)].store(true, std::memory_order_release);
  }

 private:
  static constexpr std::size_t kGates = 1024;
  static bool IsSmall(std::int32_t partition) {
    return partition >= 0 && static_cast<std::size_t>(partition) < kGates;
  }
  static std::size_t At(std::int32_t partition) { return static_cast<std::size_t>(partition); }

  std::array<std::atomic<bool>, kGates> open_{};
};

class FirstRecords {
 public:
  struct Held {
    OutgoingMessage message;
    std::int32_t partition = 0;
    std::string stamp;
    void* cookie = nullptr;
    bool is_copied = false;
    absl::Time give_up_at;
  };
  enum class Entry : std::uint8_t {
    kGo,     // to the client
    kFirst,  // to the client; what becomes of it is told to Settle()
    kHeld,   // has been copied; Tend() says what becomes of it
    kFull    // nothing has happened
  };

  explicit FirstRecords(std::size_t held_bytes_max) : held_bytes_max_(held_bytes_max) {}

  // For records of partitions whose gate is not open.
  Entry Enter(const OutgoingRecord& record, absl::Time give_up_at);
  // The first record is stored, or it is not and another one becomes the first. Of partitions
  // without a first record under way: nothing.
  void Settle(const std::string& topic, std::int32_t partition, bool is_stored);
  // Some report may be that of a first record.
  bool has_firsts() const { return firsts_.load() > 0; }

  struct Turn {
    absl::Time now;
    // Gives the record to the client. kResourceExhausted: later. Any other error: it is told.
    absl::FunctionRef<absl::Status(const Held&)> send;
    absl::FunctionRef<void(Held& held, absl::Status status)> tell;
    // All that is held is stored or told now: its partition holds nothing back any more.
    absl::FunctionRef<void(const std::string& topic, std::int32_t partition)> open;
  };
  // Sends what may go, in order, and tells of what has waited too long or was given up.
  void Tend(const Turn& turn);
  // There is something for Tend() to do, now or later.
  bool has_work() const { return has_work_.load(); }
  // All that is held comes back with the next Tend().
  void GiveUp();

 private:
  struct Gate {
    bool has_first = false;  // one is under way
    bool is_known = false;   // the broker knows this client there
    std::deque<Held> held;
  };

  void TendGate(Gate& gate, const Turn& turn);
  void Drop(Gate& gate, std::size_t bytes);

  const std::size_t held_bytes_max_;
  std::mutex mutex_;
  // Bounded by the partitions that there are.
  std::map<std::pair<std::string, std::int32_t>, Gate> gates_;
  std::size_t held_bytes_ = 0;
  std::vector<Held> given_up_;
  std::atomic<std::size_t> firsts_ = 0;
  std::atomic<bool> has_work_ = false;
};

}  // namespace once::kafka
