// Opens producers and replaces broken ones.
#include "once/kafka/publisher.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/kafka/kafka_publisher.h"

namespace once::kafka {

absl::StatusOr<std::shared_ptr<Publisher>> OpenPublisher(PublisherOptions options) {
  absl::StatusOr<std::shared_ptr<KafkaPublisher>> publisher =
      KafkaPublisher::Open(std::move(options));
  if (!publisher.ok()) return publisher.status();
  return *std::move(publisher);
}

absl::StatusOr<std::shared_ptr<KafkaPublisher>> KafkaPublisher::Open(PublisherOptions options) {
  absl::StatusOr<std::shared_ptr<Producer>> producer = Producer::Open(options);
  if (!producer.ok()) return producer.status();
  return std::shared_ptr<KafkaPublisher>(
      new KafkaPublisher(std::move(options), *std::move(producer)));
}

absl::StatusOr<std::shared_ptr<Producer>> KafkaPublisher::producer() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!producer_->is_spent()) return producer_;
  absl::StatusOr<std::shared_ptr<Producer>> next = Producer::Open(options_);
  if (!next.ok()) return absl::UnavailableError(next.status().message());
  const absl::Status fatal = producer_->client().FatalStatus();
  (*next)->client().Log(
      LogLevel::kWarning, "producer_replaced",
      fatal.ok() ? std::string("a new producer takes over: the last one was not allowed to write")
                 : absl::StrCat("a new producer takes over: ", fatal.message()));
  producer_ = *std::move(next);
  return producer_;
}

void KafkaPublisher::Publish(std::span<const OutgoingMessage> messages, absl::Time deadline,
                             std::span<absl::Status> outcomes) {
  const absl::StatusOr<std::shared_ptr<Producer>> current = producer();
  if (!current.ok()) {
    std::fill(outcomes.begin(), outcomes.end(), current.status());
    return;
  }
  (*current)->Publish(messages, deadline, outcomes);
}

}  // namespace once::kafka
