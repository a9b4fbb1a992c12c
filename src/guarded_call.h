// One call of a wrapped function, in its two forms. What a call decides is decided by the store's
// answers; nothing is remembered here between two calls.
#pragma once

#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/claims.h"
#include "once/wrap.h"
#include "src/lease_keeper.h"

namespace once {

// What all calls of one wrapped function share. References outlive the call.
struct CallContext {
  const CallFunctions& functions;
  const RetryPolicy& retry;
  LogSink& log;
  Executor& executor;
  Random& random;
  std::string_view scope;  // as the store knows it
};

struct IdentifiedCall {
  const void* arg = nullptr;
  std::string_view id;
  Fingerprint fingerprint;
};

// The transaction form: id and effect in one transaction without positions.
absl::StatusOr<CallAnswer> CallInTransaction(const CallContext& context, TransactionalStore& store,
                                             const IdentifiedCall& call);

struct ClaimTerms {
  ClaimStore& store;
  LeaseKeeper& keeper;
  absl::Duration lease;
  LostClaim on_lost = LostClaim::kRerun;
};

// The claim form.
absl::StatusOr<CallAnswer> CallUnderClaim(const CallContext& context, const ClaimTerms& terms,
                                          const IdentifiedCall& call);

// The rest is what both forms need.

// "id \"…\"", printable whatever its bytes.
std::string NameOf(const IdentifiedCall& call);

// The answer for an id that the store has settled, or holds for somebody else.
CallAnswer SettledEarlier(CallVerdict verdict, const IdentifiedCall& call);
CallAnswer NotNow(CallVerdict verdict, absl::Duration wait, const IdentifiedCall& call);

// What becomes of a failed invocation.
struct FailurePlan {
  RetryDecision decision;
  absl::Time first_failed_at;  // this failure included
};
FailurePlan PlanFailure(const CallContext& context, const Outcome& outcome, int attempt,
                        absl::Time first_failed_at);

// Which answers of a store are worth asking again for.
enum class Patience {
  kLostAnswers,  // kUnknown only: a definite error goes to the caller, who calls again
  kAnyTrouble,   // whatever may pass: an invocation lies behind it, and would be lost
};

struct StoreAnswer {
  absl::Status status;
  bool was_lost = false;  // the answer to an earlier try: it may have been applied
};

// Asks until the store knows, a bounded number of times with growing waits (about a second).
StoreAnswer AskStore(Executor& executor, Patience patience,
                     const std::function<absl::Status()>& ask);

}  // namespace once
