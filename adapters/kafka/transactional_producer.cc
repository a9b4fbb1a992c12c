// Options, and the two handles: a transaction in the user's hands, and who begins it.
#include "once/kafka/transactional_producer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/settings.h"
#include "adapters/kafka/transaction_course.h"

namespace once::kafka {
namespace {

absl::Status RequireWait(std::string_view field, absl::Duration value) {
  if (value >= absl::ZeroDuration() && value <= absl::Hours(24)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("kafka: .times.", std::string(field), " is ",
                                                 absl::FormatDuration(value),
                                                 "; it must be between 0 and 24h"));
}

absl::Status Validate(const TransactionalProducerOptions& options) {
  absl::Status status = RequireText("brokers", options.brokers);
  status.Update(RequireText("transactional_id", options.transactional_id));
  status.Update(RequireText("ids.header", options.ids.header));
  const TransactionTimes& times = options.times;
  if (times.transaction_timeout < absl::Seconds(5) || times.transaction_timeout > absl::Hours(1)) {
    status.Update(absl::InvalidArgumentError(absl::StrCat(
        "kafka: .times.transaction_timeout is ", absl::FormatDuration(times.transaction_timeout),
        "; it must be between 5s and 1h")));
  }
  status.Update(RequireWait("init_timeout", times.init_timeout));
  status.Update(RequireWait("send_timeout", times.send_timeout));
  status.Update(RequireWait("abort_timeout", times.abort_timeout));
  status.Update(RequireWait("resolve_timeout", times.resolve_timeout));
  if (options.linger < absl::ZeroDuration() || options.linger >= times.transaction_timeout) {
    status.Update(absl::InvalidArgumentError(
        "kafka: .linger must be at least 0 and less than .times.transaction_timeout"));
  }
  const TransactionLimits& limits = options.limits;
  if (limits.messages_max < 1 || limits.bytes_max < 1024) {
    status.Update(absl::InvalidArgumentError(
        "kafka: .limits.messages_max must be at least 1, .limits.bytes_max at least 1024"));
  }
  if (limits.queue_messages_max < 1 || limits.queue_bytes_max < 1024) {
    status.Update(absl::InvalidArgumentError(
        "kafka: .limits.queue_messages_max must be at least 1, .limits.queue_bytes_max at least "
        "1024"));
  }
  if (options.random == nullptr) {
    status.Update(absl::InvalidArgumentError("kafka: .random is null; use SystemRandom()"));
  }
  return status;
}

absl::Status IsOver() {
  return absl::FailedPreconditionError("kafka: the transaction is over; begin another one");
}

}  // namespace

KafkaTransaction::KafkaTransaction(std::shared_ptr<TransactionCourse> course)
    : course_(std::move(course)) {}

KafkaTransaction::KafkaTransaction(KafkaTransaction&& other) noexcept
    : course_(std::exchange(other.course_, nullptr)),
      failed_sends_(std::move(other.failed_sends_)) {}

KafkaTransaction& KafkaTransaction::operator=(KafkaTransaction&& other) noexcept {
  if (this == &other) return *this;
  Drop();
  course_ = std::exchange(other.course_, nullptr);
  failed_sends_ = std::move(other.failed_sends_);
  return *this;
}

KafkaTransaction::~KafkaTransaction() { Drop(); }

void KafkaTransaction::Drop() noexcept {
  // An abort that does not get through is the brokers' business then.
  if (course_ != nullptr) course_->Abort().IgnoreError();
  course_ = nullptr;
}

absl::StatusOr<std::string> KafkaTransaction::Send(OutgoingMessage message) {
  if (course_ == nullptr) return IsOver();
  return course_->Send(std::move(message));
}

absl::Status KafkaTransaction::Commit(absl::Time deadline) {
  if (course_ == nullptr) return IsOver();
  const std::shared_ptr<TransactionCourse> course = std::exchange(course_, nullptr);
  absl::Status committed = course->Commit(deadline);
  failed_sends_ = course->TakeFailedSends();
  return committed;
}

absl::Status KafkaTransaction::Abort() {
  if (course_ == nullptr) return IsOver();
  const std::shared_ptr<TransactionCourse> course = std::exchange(course_, nullptr);
  absl::Status aborted = course->Abort();
  failed_sends_ = course->TakeFailedSends();
  return aborted;
}

std::vector<FailedSend> KafkaTransaction::failed_sends() const {
  return course_ == nullptr ? failed_sends_ : course_->failed_sends();
}

absl::StatusOr<std::unique_ptr<TransactionalProducer>> TransactionalProducer::Create(
    TransactionalProducerOptions options) {
  if (absl::Status status = Validate(options); !status.ok()) return status;
  // librdkafka checks the rest.
  auto client = TransactionClient::Open(options);
  if (!client.ok()) return client.status();
  return std::unique_ptr<TransactionalProducer>(new TransactionalProducer(
      std::make_shared<TransactionCourse>(std::move(options), *std::move(client))));
}

TransactionalProducer::TransactionalProducer(std::shared_ptr<TransactionCourse> course)
    : course_(std::move(course)) {}

TransactionalProducer::~TransactionalProducer() = default;

absl::StatusOr<KafkaTransaction> TransactionalProducer::Begin() {
  if (absl::Status begun = course_->Begin(); !begun.ok()) return begun;
  return KafkaTransaction(course_);
}

absl::Status TransactionalProducer::status() const { return course_->status(); }

}  // namespace once::kafka
