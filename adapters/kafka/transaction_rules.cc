// Codes and flags of librdkafka 2.0.2. A broker of before KIP-588 and a newer one name a fenced
// producer differently, and librdkafka has a name of its own.
#include "adapters/kafka/transaction_rules.h"

#include "absl/strings/str_cat.h"
#include "adapters/kafka/errors.h"
#include "adapters/kafka/handles.h"

namespace once::kafka {

std::optional<TransactionError> TakeError(rd_kafka_error_t* error) {
  const Owned<rd_kafka_error_t> owned(error);
  if (error == nullptr) return std::nullopt;
  return TransactionError{.code = rd_kafka_error_code(error),
                          .is_fatal = rd_kafka_error_is_fatal(error) != 0,
                          .requires_abort = rd_kafka_error_txn_requires_abort(error) != 0,
                          .is_retriable = rd_kafka_error_is_retriable(error) != 0,
                          .text = rd_kafka_error_string(error)};
}

bool IsProducerFenced(rd_kafka_resp_err_t code) {
  return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
         code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

bool IsWorthRepeating(const TransactionError& error) {
  return !error.is_fatal && !error.requires_abort && error.is_retriable;
}

absl::Status InitStatus(const TransactionError& error) {
  if (error.code == RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT) {
    return absl::InvalidArgumentError(
        absl::StrCat("kafka: .times.transaction_timeout, .abort_timeout and 5s more are together "
                     "more than transaction.max.timeout.ms of the brokers allows (15 min by "
                     "default): ",
                     error.text));
  }
  const std::string text = absl::StrCat("kafka: preparing transactions: ", error.text);
  if (IsRefusal(error.code)) return absl::PermissionDeniedError(text);
  if (error.code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE) return absl::UnimplementedError(text);
  return absl::UnavailableError(text);
}

absl::Status AbortedBecause(const absl::Status& reason) {
  const std::string text = absl::StrCat("kafka: the transaction is aborted: ", reason.message());
  if (absl::IsInvalidArgument(reason)) return absl::InvalidArgumentError(text);
  return absl::AbortedError(text);
}

}  // namespace once::kafka
