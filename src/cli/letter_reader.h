// A LetterReader reads a dead-letter topic with a plain librdkafka consumer: nothing of once's is
// between the broker and the check.
// Thread-safety: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "src/cli/demo_check.h"
#include "src/cli/kafka_handle.h"

namespace once::demo {

class LetterReader {
 public:
  // From the beginning of every partition of `topic`.
  static absl::StatusOr<LetterReader> Open(const std::string& brokers, const std::string& topic,
                                           std::int32_t partitions);

  // Everything that is there now, at most `messages_max`; waits up to `timeout_ms` for the first.
  void Read(int timeout_ms, int messages_max, const std::function<void(const ReadLetter&)>& letter);
  // One past the last message read, per partition.
  const std::vector<std::int64_t>& positions() const { return positions_; }

 private:
  LetterReader(KafkaHandle handle, std::int32_t partitions)
      : handle_(std::move(handle)), positions_(static_cast<std::size_t>(partitions)) {}

  KafkaHandle handle_;
  std::vector<std::int64_t> positions_;
};

}  // namespace once::demo
