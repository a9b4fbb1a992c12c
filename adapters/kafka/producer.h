// A Producer is one librdkafka producer and the Publish() calls that wait on it. A fatal error ends
// it; KafkaPublisher then opens the next.
// Thread-safety: safe for concurrent use.
#pragma once

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/kafka/client.h"
#include "once/kafka/publisher.h"
#include "once/publisher.h"

namespace once::kafka {

class Producer final : private ClientListener {
 public:
  static absl::StatusOr<std::shared_ptr<Producer>> Open(const PublisherOptions& options);
  ~Producer() override;

  // As Publisher::Publish.
  void Publish(std::span<const OutgoingMessage> messages, absl::Time deadline,
               std::span<absl::Status> outcomes);

  // No message can be sent any more.
  bool is_broken() const { return !client_->FatalStatus().ok(); }
  // A new producer is needed to go on. Not only after a fatal error: the client remembers for
  // minutes that it was not allowed to write to a topic, whatever has been granted since.
  bool is_spent() const { return is_refused_.load() || is_broken(); }

  rd_kafka_t* handle() const { return client_->handle(); }
  const Client& client() const { return *client_; }

 private:
  // One Publish(). Outlives it while the client still holds messages of it.
  struct Call {
    std::vector<absl::Status> outcomes;
    std::size_t outstanding = 0;
  };
  // What the client carries with a message.
  struct Ticket {
    std::shared_ptr<Call> call;
    std::size_t index;
  };

  explicit Producer(std::shared_ptr<Client> client);

  void OnDelivered(const rd_kafka_message_t& message) override;
  void OnError(rd_kafka_resp_err_t error, std::string_view text) override;

  absl::Status Send(const OutgoingMessage& message, const std::shared_ptr<Call>& call,
                    std::size_t index, absl::Time deadline);
  void WaitFor(const Call& call, absl::Time deadline);
  void Serve(std::unique_lock<std::mutex>& lock, absl::Duration wait);

  std::shared_ptr<Client> client_;
  std::atomic<bool> is_refused_ = false;
  std::mutex mutex_;
  std::condition_variable served_;
  bool is_serving_ = false;  // a thread is inside rd_kafka_poll; others wait for it
};

}  // namespace once::kafka
