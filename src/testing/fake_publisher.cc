// FakePublisher, the client side of one process, and where the broker puts a message.
#include "once/testing/fake_publisher.h"

#include <cassert>
#include <functional>
#include <utility>

namespace once::testing {

class FakePublisher : public Publisher {
 public:
  FakePublisher(FakeTopics& topics, std::shared_ptr<Process> process)
      : topics_(topics), process_(std::move(process)) {}

  void Publish(std::span<const OutgoingMessage> messages, absl::Time deadline,
               std::span<absl::Status> outcomes) override;

 private:
  // Each message is a seam of its own, so that a batch may break in its middle.
  absl::Status PublishOne(const OutgoingMessage& message);

  FakeTopics& topics_;
  std::shared_ptr<Process> process_;
};

void FakePublisher::Publish(std::span<const OutgoingMessage> messages, absl::Time /*deadline*/,
                            std::span<absl::Status> outcomes) {
  assert(messages.size() == outcomes.size());
  for (std::size_t i = 0; i < messages.size(); ++i) outcomes[i] = PublishOne(messages[i]);
}

absl::Status FakePublisher::PublishOne(const OutgoingMessage& message) {
  const absl::Status dead = absl::CancelledError("fake publisher: the process is dead");
  const Fault fault = topics_.gate_.Pass(*process_, Seam::kPublish);
  if (process_->is_dead()) return dead;
  const std::optional<std::int32_t> partition = topics_.Place(message);
  if (!partition.has_value()) {
    return absl::InvalidArgumentError("fake publisher: too large, or no such partition");
  }
  if (fault == Fault::kFailure || !topics_.is_reachable_) {
    return absl::UnavailableError("fake publisher: failure");
  }
  if (fault != Fault::kUnknownNotApplied) {
    topics_.Store(*process_, message, *partition);
  }
  if (fault == Fault::kCrashAfter) {
    topics_.gate_.Crash(*process_);
    return dead;
  }
  if (fault == Fault::kNone) return absl::OkStatus();
  return absl::UnknownError("fake publisher: the answer was lost");
}

std::int32_t FakeTopics::CountPartitions(const std::string& topic) const {
  const auto it = partitions_.find(topic);
  return it == partitions_.end() ? options_.default_partitions : it->second;
}

std::int64_t FakeTopics::Store(const Process& process, const OutgoingMessage& message,
                               std::int32_t partition) {
  const std::int64_t offset = ends_[{message.topic, partition}]++;
  messages_.push_back(message);
  messages_.back().partition = partition;
  offsets_.push_back(offset);
  // As it was sent: the checker knows it by what was committed.
  observer_->OnPublish(process, message);
  return offset;
}

std::optional<std::int32_t> FakeTopics::Place(const OutgoingMessage& message) const {
  const std::int32_t count = CountPartitions(message.topic);
  if (count == 0 || SizeBytes(message) > options_.message_bytes_max) return std::nullopt;
  if (message.partition.has_value()) {
    const bool is_there = *message.partition >= 0 && *message.partition < count;
    return is_there ? message.partition : std::nullopt;
  }
  const std::size_t hash = std::hash<std::string>()(message.key.value_or(""));
  return static_cast<std::int32_t>(hash % static_cast<std::size_t>(count));
}

std::shared_ptr<Publisher> FakeTopics::Connect(std::shared_ptr<Process> process) {
  return std::make_shared<FakePublisher>(*this, std::move(process));
}

}  // namespace once::testing
