// SettleClaims runs one batch order of a plain handler: the claim protocol of docs/guarantees.md,
// from TryClaim to the Sync after which messages may be acknowledged. Every step that the store may
// not have heard of is kept with its message (held_claim.h) and made good in a later batch.
//
// Called from one thread at a time. It owns no state between two calls.
#pragma once

#include "once/consumer.h"
#include "src/lease_keeper.h"
#include "src/work_order.h"

namespace once {

// Everything a batch needs besides the messages. References outlive the call.
struct ClaimContext {
  ClaimStore& store;
  const PlainHandlerFunction& handler;
  const IdExtractor& id;
  const FingerprintFunction& fingerprint;
  const RetryPolicy& retry;
  const ClaimOptions& claims;
  const DeadLetterSink& dead_letters;
  LeaseKeeper& keeper;
  LogSink& log;
  Executor& executor;
  Random& random;
  absl::Duration batch_max_duration;
  absl::Duration publish_timeout;
};

// REQUIRES: order.batch is set, every partition has at least one item.
void SettleClaims(const ClaimContext& context, WorkOrder& order);

}  // namespace once
