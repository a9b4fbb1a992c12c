// A TransactionCourse is the transactions of one transactional id, one after the other, and the
// client that they go through. It decides what a failed commit means: nothing of the transaction is
// there, all of it is, or nobody knows; and when the client must be given up for a new one.
// Thread-safety: one thread at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/kafka/read_back.h"
#include "adapters/kafka/transaction_client.h"
#include "adapters/kafka/transaction_rules.h"
#include "once/kafka/transactional_producer.h"
#include "once/publisher.h"

namespace once::kafka {

class TransactionCourse {
 public:
  // Takes options that are checked, and the client that was opened to check them.
  TransactionCourse(TransactionalProducerOptions options, std::unique_ptr<TransactionClient> client)
      : options_(std::move(options)), client_(std::move(client)) {}

  // As the methods of TransactionalProducer and KafkaTransaction. All but Begin() and status() are
  // for an open transaction, which Commit() and Abort() end.
  absl::Status Begin();
  absl::StatusOr<std::string> Send(OutgoingMessage message);
  absl::Status Commit(absl::Time deadline);
  absl::Status Abort();
  const absl::Status& status() const { return fenced_; }

  std::vector<FailedSend> failed_sends() const;
  // After the end of a transaction: what failed in it.
  std::vector<FailedSend> TakeFailedSends() { return std::move(last_failed_); }

 private:
  absl::Status Ready(absl::Time deadline);
  absl::Status CheckMessage(OutgoingMessage& message, std::size_t& id_header);
  // What has become known meanwhile and dooms the transaction: reports, the client, its age.
  void Look();
  absl::Status Doom(absl::Status reason);
  // Ends the transaction, which is surely not committed. `can_abort`: the client takes an abort.
  absl::Status EndAborted(const absl::Status& reason, bool can_abort = true);
  // Ends it after a commit that was asked for and has no answer that counts.
  absl::Status Resolve(const TransactionError& error);
  // What readers see of a doubtful commit; `awaits_end` as of ReadBackRequest.
  Visibility LookFor(const std::optional<Witness>& witness, bool awaits_end,
                     absl::Time deadline) const;
  // After a commit that readers see: asks the client whether it is still the one of its id. False:
  // there is no answer.
  bool AskWhetherFenced(const TransactionError& error, absl::Time deadline);
  // Tells the brokers of a new client, at once: one that waited for the next Begin() would take the
  // id from an instance that has come meanwhile. What fails is left to that Begin().
  void ReadyAnew(absl::Time deadline);
  // Nothing is begun any more: the brokers take this producer for a zombie.
  absl::Status Fence(std::string_view text);
  // Gives the client up, after `error` of its; says so where it was fenced.
  void GiveUpClient(const TransactionError& error);
  void DropClient();
  void Close();
  absl::Duration age() const;

  const TransactionalProducerOptions options_;
  std::unique_ptr<TransactionClient> client_;  // null: given up, and none opened since
  bool is_initialised_ = false;                // the brokers know the client
  bool is_open_ = false;                       // a transaction is
  absl::Time begun_at_;
  std::chrono::steady_clock::time_point begun_at_steady_;
  absl::Status doomed_;  // why the open one cannot be committed
  absl::Status fenced_;
  std::vector<FailedSend> last_failed_;
};

}  // namespace once::kafka
