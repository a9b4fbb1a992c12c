// A TransactionClient is one librdkafka producer with a transactional id: its calls, repeated while
// that can help, and what became of the messages of the transaction that is open.
// Thread-safety: one thread at a time.
#pragma once

#include <librdkafka/rdkafka.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/kafka/client.h"
#include "adapters/kafka/transaction_rules.h"
#include "once/kafka/transactional_producer.h"
#include "once/publisher.h"

namespace once::kafka {

// A record of a transaction, where it is stored: what is read of it is what is read of all.
struct Witness {
  std::string topic;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  std::string id;
};

// The messages of one transaction.
struct TransactionBook {
  std::size_t sent = 0;
  std::size_t bytes = 0;
  std::size_t delivered = 0;
  std::size_t failed = 0;
  std::vector<FailedSend> failures;  // at most kFailedSendsListedMax
  std::optional<Witness> witness;    // the first that was delivered to an offset that is known

  // The client asks the brokers for a commit only then: before it, none can have happened.
  bool is_delivered() const { return sent > 0 && delivered == sent; }
};

// How long the brokers wait, beyond transaction_timeout and abort_timeout, before they end a
// transaction: for one whose process is awake they need not.
inline constexpr absl::Duration kBrokersPatience = absl::Seconds(5);

class TransactionClient final : private ClientListener {
 public:
  static absl::StatusOr<std::unique_ptr<TransactionClient>> Open(
      const TransactionalProducerOptions& options);
  ~TransactionClient() override;

  // nullopt: done. An error that is worth repeating: not by the deadline.
  std::optional<TransactionError> Init(absl::Time deadline);
  std::optional<TransactionError> Begin();
  std::optional<TransactionError> Commit(absl::Time deadline);
  // Of the last commit. False: it met errors, and a copy of its request may still be under way.
  bool has_committed_smoothly() const { return troubles_ == 0; }
  std::optional<TransactionError> Abort(absl::Time deadline);

  // Takes a message, waiting for room; its report goes to the book of the transaction.
  absl::Status Send(const OutgoingMessage& message, const std::string& id, absl::Time deadline);

  // Takes the reports that are there.
  void Serve();

  const TransactionBook& book() const { return *book_; }
  // NO_ERROR until the client is of no use any more.
  rd_kafka_resp_err_t fatal_code() const;
  absl::Status FatalStatus() const { return client_->FatalStatus(); }
  void Log(LogLevel level, std::string_view action, std::string_view text) const {
    client_->Log(level, action, text);
  }

 private:
  // What the client carries with a message. Reports may come after the end of the transaction.
  struct Ticket {
    std::shared_ptr<TransactionBook> book;
    std::string id;
  };

  explicit TransactionClient(std::shared_ptr<Client> client);

  void OnDelivered(const rd_kafka_message_t& message) override;
  void OnError(rd_kafka_resp_err_t error, std::string_view text) override;

  std::optional<TransactionError> Repeat(absl::Time deadline,
                                         absl::FunctionRef<rd_kafka_error_t*(int timeout_ms)> call);

  std::shared_ptr<Client> client_;
  std::size_t troubles_ = 0;  // connections and calls that failed since the commit began
  std::shared_ptr<TransactionBook> book_ = std::make_shared<TransactionBook>();
};

}  // namespace once::kafka
