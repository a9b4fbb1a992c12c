// FakeMarks reads the side topic of one topic, for one simulated consumer. Every Poll() may, as a
// fault, come to nothing. Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/mark_source.h"
#include "once/sequence.h"
#include "once/testing/fake_publisher.h"
#include "once/testing/fiber_executor.h"

namespace once::testing {

class FakeMarks final : public MarkSource {
 public:
  // `topics` outlives it.
  FakeMarks(const FakeTopics& topics, std::string topic, std::shared_ptr<Process> process)
      : topics_(topics), topic_(std::move(topic)), process_(std::move(process)) {}

  absl::Status Follow(std::span<const std::string> /*topics*/) override {
    next_ = 0;
    end_ = topics_.messages().size();
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<ReceivedMark>> Poll(std::size_t records_max) override {
    std::vector<ReceivedMark> received;
    const std::vector<OutgoingMessage>& stored = topics_.messages();
    const bool has_more = next_ < stored.size() && !process_->is_dead();
    if (has_more && process_->scheduler().oracle().Choose("marks", 2, Cost::kFault) == 1) {
      return absl::UnavailableError("fake marks: nobody answers");
    }
    for (; has_more && next_ < stored.size() && received.size() < records_max; ++next_) {
      const OutgoingMessage& record = stored[next_];
      if (record.topic != MarksTopic(topic_)) continue;
      received.push_back(
          {.topic = topic_, .key = record.key.value_or(""), .value = record.value.value_or("")});
    }
    return received;
  }

  bool has_caught_up() const override { return next_ >= end_; }

 private:
  const FakeTopics& topics_;
  const std::string topic_;
  const std::shared_ptr<Process> process_;
  std::size_t next_ = 0;
  std::size_t end_ = 0;
};

}  // namespace once::testing
