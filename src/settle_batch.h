// SettleBatch runs one batch order: the transaction protocol of docs/guarantees.md, from Begin to
// the known or unknown end of Commit. Optimistic first (no savepoints); the first failure rolls
// back and replays message by message with savepoints, so that the failing message alone is
// retried, dead-lettered or skipped while its neighbours commit.
//
// Called from one thread at a time. It owns no state between two calls; `buffers` is room, no more.
#pragma once

#include <cstddef>

#include "once/consumer.h"
#include "src/candidate.h"
#include "src/work_order.h"

namespace once {

// Everything a batch needs besides the messages. References outlive the call.
struct SettleContext {
  TransactionalStore& store;
  const TransactionalHandlerFunction& handler;
  // Called instead while nothing has failed; null where handlers are called message by message.
  const BatchHandlerFunction* batch_handler = nullptr;
  const IdExtractor& id;
  const FingerprintFunction& fingerprint;
  const RetryPolicy& retry;
  const DeadLetterSink& dead_letters;
  LogSink& log;
  Executor& executor;
  Random& random;
  std::string_view group;
  absl::Duration batch_max_duration;
  bool has_deadline = false;     // ConsumerTimes::handler_deadline is finite
  bool keeps_numbers = false;    // what is known of streams goes into the store
  bool is_synced_later = false;  // what may wait for it is committed without a sync
  SettleBuffers& buffers;
};

// The failure of a batch handler that returns `given` outcomes for `expected` messages.
Outcome WrongNumberOfOutcomes(std::size_t given, std::size_t expected);

// REQUIRES: order.batch is set, every partition has at least one item.
void SettleBatch(const SettleContext& context, WorkOrder& order);

}  // namespace once
