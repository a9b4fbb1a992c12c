// A FakeTopics is the broker side of a Publisher in a simulation: what it has stored survives the
// processes that publish. Every process connects for itself and gets a Publisher, or a RecordClient
// (fake_record_client.h).
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "once/publisher.h"
#include "once/testing/fiber_executor.h"
#include "once/testing/observer.h"
#include "once/testing/seam.h"

namespace once::testing {

struct FakeTopicsOptions {
  // Partitions of a topic that nobody has created; 0: such a topic does not exist.
  std::int32_t default_partitions = 1;
  std::size_t message_bytes_max = 1024 * 1024;
};

class FakeTopics {
 public:
  // `observer` may be null; it and the gate must outlive the topics and every connection.
  FakeTopics(SeamGate& gate, FakeTopicsOptions options, SimulationObserver* observer)
      : gate_(gate), options_(options), observer_(observer == nullptr ? &silent_ : observer) {}

  std::shared_ptr<Publisher> Connect(std::shared_ptr<Process> process);

  void CreateTopic(const std::string& topic, std::int32_t partitions) {
    partitions_[topic] = partitions;
  }
  // False: every message fails, not stored.
  void set_is_reachable(bool is_reachable) { is_reachable_ = is_reachable; }

  // Records of clients that are gone, which are still on their way.
  std::size_t in_flight() const { return in_flight_; }

  // 0: there is no such topic.
  std::int32_t CountPartitions(const std::string& topic) const;

  // In the order in which they were stored, of all topics; each names its partition.
  const std::vector<OutgoingMessage>& messages() const { return messages_; }
  // Where each of them lies in its partition.
  const std::vector<std::int64_t>& offsets() const { return offsets_; }

 private:
  friend class FakePublisher;
  friend class FakeRecordClient;

  // Where the message lies; nullopt: nowhere, ever.
  std::optional<std::int32_t> Place(const OutgoingMessage& message) const;
  // The offset it gets. REQUIRES: it names its partition, which there is.
  std::int64_t Store(const Process& process, const OutgoingMessage& message,
                     std::int32_t partition);

  SeamGate& gate_;
  FakeTopicsOptions options_;
  SimulationObserver* observer_;
  SimulationObserver silent_;
  bool is_reachable_ = true;
  std::size_t in_flight_ = 0;
  std::map<std::string, std::int32_t> partitions_;
  std::vector<OutgoingMessage> messages_;
  std::vector<std::int64_t> offsets_;
  std::map<std::pair<std::string, std::int32_t>, std::int64_t> ends_;
};

}  // namespace once::testing
