// KafkaPublisher keeps a working Producer: a fatal error of the idempotent producer is answered by
// a new one, since the client can never be used again.
// Thread-safety: safe for concurrent use.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/kafka/producer.h"
#include "once/kafka/publisher.h"
#include "once/publisher.h"

namespace once::kafka {

class KafkaPublisher final : public Publisher {
 public:
  static absl::StatusOr<std::shared_ptr<KafkaPublisher>> Open(PublisherOptions options);

  void Publish(std::span<const OutgoingMessage> messages, absl::Time deadline,
               std::span<absl::Status> outcomes) override;

  // The producer in use, a new one when the last one is broken.
  absl::StatusOr<std::shared_ptr<Producer>> producer();

 private:
  KafkaPublisher(PublisherOptions options, std::shared_ptr<Producer> producer)
      : options_(std::move(options)), producer_(std::move(producer)) {}

  const PublisherOptions options_;
  std::mutex mutex_;
  std::shared_ptr<Producer> producer_;
};

}  // namespace once::kafka
