// Wrap guards any function with the ids of a store, so that it takes effect once per id. It is for
// code that owns its loop or its server: a hand-written consumer, an HTTP or gRPC handler, a job
// runner. A Consumer does more for messages from a broker: it keeps the position too.
//
//   auto charge = once::Wrap<Request>(
//       {.store = store, .scope = "charges", .id = [](const Request& r) { return r.key; }},
//       [](const Request& request, once::Transaction& transaction) { … });
//   if (!charge.ok()) return charge.status();
//   const absl::StatusOr<once::CallAnswer> answer = (*charge)(request);
//
// The signature of the function decides what is promised, as for handlers (handler.h). Either form
// may take a `const Invocation&` as its last parameter:
//
//   (const Arg&, Transaction&)   id and effect commit together: one effect per id. Returns
//                                absl::Status or Outcome.
//   (const Arg&)                 the effect lies elsewhere; a claim guards the id: one rerun is
//                                possible per crash between effect and completion. Returns
//                                absl::Status, Outcome, or absl::StatusOr<std::string>: a result
//                                that is kept with the id and given to every later call.
//
// Wrap has no log to read again: whoever is answered "done" may forget the call. So the promise
// needs a store that never loses a commit it has acknowledged (condition C7 in docs/guarantees.md).
//
// What it is not: a retry loop, or a queue for what failed. The caller calls again, and keeps what
// failed for good.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/claims.h"
#include "once/consumer.h"
#include "once/dedup_store.h"
#include "once/executor.h"
#include "once/guarantee.h"
#include "once/log.h"
#include "once/message_id.h"
#include "once/outcome.h"
#include "once/retry.h"
#include "once/transaction.h"

namespace once {

// Longest result that is kept with an id. A longer one reaches the first caller only.
inline constexpr std::size_t kCallResultBytesMax = kClaimResultBytesMax - 1;

enum class CallVerdict : std::uint8_t {
  // Settled: no later call with this argument runs the function.
  kDone,       // it ran now and took effect
  kDuplicate,  // it took effect earlier; `result` is that of the first time
  kDiscarded,  // skipped on record, by the function or an operator
  kDead,       // failed for good, now or earlier: keep the argument elsewhere before forgetting it
  kUncertain,  // may have taken effect; an operator says whether it did. Keep it as well
  kConflict,   // another fingerprint under this id: never runs. Keep it as well
  // Not settled: call again after `wait`.
  kFailed,      // it ran now and failed
  kNotYet,      // it failed earlier, and its backoff is not over
  kInProgress,  // another call, here or in another process, is at work on this id
};

// "done", "duplicate", "discarded", "dead", "uncertain", "conflict", "failed", "not yet",
// "in progress".
std::string_view ToString(CallVerdict verdict);

struct CallAnswer {
  CallVerdict verdict = CallVerdict::kDone;
  absl::Status status;  // why; OK for kDone and kDuplicate only
  absl::Duration wait = absl::ZeroDuration();
  int attempt = 0;  // of the invocation; 0 when the function did not run
  // kDone, kDuplicate: what the function returned as a string. nullopt when it returns none, when
  // the id was completed by something else (a consumer, an operator), and at a duplicate of a
  // result that was too long to keep.
  std::optional<std::string> result;

  // It took effect, now or earlier.
  bool has_happened() const {
    return verdict == CallVerdict::kDone || verdict == CallVerdict::kDuplicate;
  }
  // Calling again cannot change the answer. What has not happened then is the caller's to keep.
  bool is_settled() const { return verdict <= CallVerdict::kConflict; }
};

// What a function may want to know of its own invocation. Views: valid while it runs.
struct Invocation {
  std::string_view id;
  std::string_view scope;  // NamedScope(WrapOptions::scope)
  int attempt = 1;         // 1-based, counts invocations whose failure is recorded
  // An earlier one was begun and nobody knows how it ended; also where `reconcile` has said that it
  // did not happen, for it may only be slow.
  bool maybe_repeated = false;
  // Stop requested: the claim is lost, so another call may run already. Never in transactions.
  std::stop_token cancellation;

  // Names (scope, id) to a downstream that deduplicates by itself (message_id.h).
  std::string idempotency_key() const { return IdempotencyKey({.scope = scope, .id = id}); }
};

// The caller decides how often it calls: a failed call may be repeated at once, and for ever.
inline constexpr int kUnlimitedAttempts = std::numeric_limits<int>::max();

template <typename Arg>
struct WrapOptions {
  std::shared_ptr<DedupStore> store;
  // Required. Two functions that share a store never see each other's ids, unless they share the
  // scope too. A consumer whose ConsumerOptions::scope has this name shares its ids with it.
  std::string scope;
  // Required: the stable id of a call, the same whenever it is repeated, 1 to kMessageIdBytesMax
  // bytes. Must be pure and thread-safe.
  std::function<std::string(const Arg&)> id;
  // Tells two different calls under one id apart (CallVerdict::kConflict); null: nobody does.
  std::function<Fingerprint(const Arg&)> fingerprint;

  // Failures of a permanent code, Reject, and the last of `max_attempts` make an id dead. `backoff`
  // says how soon a call after a failed one may run; until then it is answered kNotYet. In
  // transactions an invocation that the process did not survive is not counted.
  RetryPolicy retry = {.max_attempts = kUnlimitedAttempts,
                       .backoff = {.initial = absl::ZeroDuration()}};

  // For the form without a transaction. Leases are renewed every third of this while the function
  // runs. Longer: after a crash its ids wait longer. Shorter: a stalled process loses them sooner.
  // Between a second and a day.
  absl::Duration lease = absl::Seconds(30);
  // What becomes of an id whose function was begun and never heard of again. kPark answers
  // kUncertain. kReconcile needs `reconcile`, which is called like the function, in its place.
  LostClaim on_lost = LostClaim::kRerun;
  std::function<Reconciled(const Arg&)> reconcile;

  std::shared_ptr<LogSink> log = JsonLog();
  std::shared_ptr<Executor> executor = SystemExecutor();
  std::shared_ptr<Random> random = SystemRandom();
};

// What the function of either form may return, and how it is called. It is called through a const
// reference, from as many threads as call the wrapped object: a mutable lambda does not fit.
template <typename R>
concept CallResult =
    HandlerResult<R> || std::same_as<std::remove_cvref_t<R>, absl::StatusOr<std::string>>;

template <typename F, typename Arg>
concept TransactionalFunction =
    (std::invocable<const F&, const Arg&, Transaction&> &&
     HandlerResult<std::invoke_result_t<const F&, const Arg&, Transaction&>>) ||
    (std::invocable<const F&, const Arg&, Transaction&, const Invocation&> &&
     HandlerResult<std::invoke_result_t<const F&, const Arg&, Transaction&, const Invocation&>>);

template <typename F, typename Arg>
concept PlainFunction =
    !TransactionalFunction<F, Arg> &&
    ((std::invocable<const F&, const Arg&> &&
      CallResult<std::invoke_result_t<const F&, const Arg&>>) ||
     (std::invocable<const F&, const Arg&, const Invocation&> &&
      CallResult<std::invoke_result_t<const F&, const Arg&, const Invocation&>>));

template <typename F, typename Arg>
concept WrappableFunction = TransactionalFunction<F, Arg> || PlainFunction<F, Arg>;

// How one invocation ended, whatever the function returns.
struct CallEnd {
  Outcome outcome = Done();
  std::optional<std::string> result = std::nullopt;

  // NOLINTBEGIN(google-explicit-constructor): functions return these.
  CallEnd(Outcome ended) : outcome(std::move(ended)) {}
  CallEnd(absl::Status status) : outcome(std::move(status)) {}
  CallEnd(absl::StatusOr<std::string> value)
      : outcome(value.status()),
        result(value.ok() ? std::optional(*std::move(value)) : std::nullopt) {}
  // NOLINTEND(google-explicit-constructor)
};

// The functions of a WrapOptions<Arg> with the type of the argument erased.
struct CallFunctions {
  std::function<std::string(const void* arg)> id;
  std::function<Fingerprint(const void* arg)> fingerprint;  // may be null
  std::function<Reconciled(const void* arg)> reconcile;     // may be null
  // One of the two.
  std::function<CallEnd(const void* arg, const Invocation&)> plain;
  std::function<CallEnd(const void* arg, Transaction&, const Invocation&)> transactional;
};

class GuardedCalls;

// A function that takes effect once per id. Copies share all state.
// Thread-safety: safe for concurrent use, also with the same argument: one call runs the function,
// the others are answered. Must outlive its calls.
template <typename Arg>
class Wrapped {
 public:
  // An error says that the outcome could not be recorded or is not known: the store did not answer,
  // or the claim was lost to another call. Calling again with the same argument is always safe.
  // kInvalidArgument: there is no valid id in `arg`, and calling again cannot help.
  absl::StatusOr<CallAnswer> operator()(const Arg& arg) const;

  // What the calls rest on, and why it is not more.
  Guarantee guarantee() const;

 private:
  template <typename A, WrappableFunction<A> F>
  friend absl::StatusOr<Wrapped<A>> Wrap(WrapOptions<A> options, F function);

  explicit Wrapped(std::shared_ptr<GuardedCalls> calls) : calls_(std::move(calls)) {}
  std::shared_ptr<GuardedCalls> calls_;
};

// kInvalidArgument or kFailedPrecondition, naming the field and the way out. `Arg` is named by the
// caller: Wrap<Request>({…}, function).
template <typename Arg, WrappableFunction<Arg> F>
absl::StatusOr<Wrapped<Arg>> Wrap(WrapOptions<Arg> options, F function);

// Below is only the erasure of Arg.

struct GuardedCallsOptions {
  std::shared_ptr<DedupStore> store;
  std::string scope;
  CallFunctions functions;
  RetryPolicy retry;
  absl::Duration lease;
  LostClaim on_lost = LostClaim::kRerun;
  std::shared_ptr<LogSink> log;
  std::shared_ptr<Executor> executor;
  std::shared_ptr<Random> random;
};

absl::StatusOr<std::shared_ptr<GuardedCalls>> OpenGuardedCalls(GuardedCallsOptions options);
absl::StatusOr<CallAnswer> CallOnce(GuardedCalls& calls, const void* arg);
Guarantee GuaranteeOf(const GuardedCalls& calls);

template <typename Arg>
absl::StatusOr<CallAnswer> Wrapped<Arg>::operator()(const Arg& arg) const {
  return CallOnce(*calls_, &arg);
}

template <typename Arg>
Guarantee Wrapped<Arg>::guarantee() const {
  return GuaranteeOf(*calls_);
}

template <typename Result, typename Arg>
std::function<Result(const void*)> EraseArgument(std::function<Result(const Arg&)> function) {
  if (!function) return nullptr;
  return [function = std::move(function)](const void* arg) {
    return function(*static_cast<const Arg*>(arg));
  };
}

template <typename Arg, typename F>
void EraseFunction(F function, CallFunctions& functions) {
  if constexpr (std::invocable<const F&, const Arg&, Transaction&, const Invocation&>) {
    functions.transactional = [function = std::move(function)](
                                  const void* arg, Transaction& transaction,
                                  const Invocation& invocation) -> CallEnd {
      return function(*static_cast<const Arg*>(arg), transaction, invocation);
    };
  } else if constexpr (std::invocable<const F&, const Arg&, Transaction&>) {
    functions.transactional = [function = std::move(function)](const void* arg,
                                                               Transaction& transaction,
                                                               const Invocation&) -> CallEnd {
      return function(*static_cast<const Arg*>(arg), transaction);
    };
  } else if constexpr (std::invocable<const F&, const Arg&, const Invocation&>) {
    functions.plain = [function = std::move(function)](const void* arg,
                                                       const Invocation& invocation) -> CallEnd {
      return function(*static_cast<const Arg*>(arg), invocation);
    };
  } else {
    functions.plain = [function = std::move(function)](const void* arg,
                                                       const Invocation&) -> CallEnd {
      return function(*static_cast<const Arg*>(arg));
    };
  }
}

template <typename Arg, WrappableFunction<Arg> F>
absl::StatusOr<Wrapped<Arg>> Wrap(WrapOptions<Arg> options, F function) {
  CallFunctions functions{.id = EraseArgument(std::move(options.id)),
                          .fingerprint = EraseArgument(std::move(options.fingerprint)),
                          .reconcile = EraseArgument(std::move(options.reconcile))};
  EraseFunction<Arg>(std::move(function), functions);
  auto calls = OpenGuardedCalls({.store = std::move(options.store),
                                 .scope = std::move(options.scope),
                                 .functions = std::move(functions),
                                 .retry = std::move(options.retry),
                                 .lease = options.lease,
                                 .on_lost = options.on_lost,
                                 .log = std::move(options.log),
                                 .executor = std::move(options.executor),
                                 .random = std::move(options.random)});
  if (!calls.ok()) return calls.status();
  return Wrapped<Arg>(*std::move(calls));
}

}  // namespace once
