// What follows from an error of librdkafka's transactional calls. Pure functions.
#pragma once

#include <librdkafka/rdkafka.h>

#include <optional>
#include <string>

#include "absl/status/status.h"

namespace once::kafka {

struct TransactionError {
  rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
  bool is_fatal = false;  // the client is of no use any more
  bool requires_abort = false;
  bool is_retriable = false;  // the same call, again
  std::string text;
};
// nullopt for null.
std::optional<TransactionError> TakeError(rd_kafka_error_t* error);

// The brokers take words of this producer no more: somebody else uses its transactional id, or they
// have ended its transaction by themselves.
bool IsProducerFenced(rd_kafka_resp_err_t code);

// The call may be made again, and can succeed.
bool IsWorthRepeating(const TransactionError& error);

// Why no transaction can be begun, by the contract of TransactionalProducer::Begin().
absl::Status InitStatus(const TransactionError& error);

// The outcome of a transaction that is surely not committed, for `reason`: kInvalidArgument stays
// what it is, everything else is kAborted.
absl::Status AbortedBecause(const absl::Status& reason);

}  // namespace once::kafka
