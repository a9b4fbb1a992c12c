// What may be handed to Consumer::Create. The signature decides the guarantee, not a flag:
//
//   (const Message&, Transaction&)   effect, id and position commit together: effectively-once
//   (std::span<const Message* const>, Transaction&)
//                                    the same, for all new messages of a batch in one call: for
//                                    bulk statements
//   (const Message&)                 the effect lies elsewhere, a claim guards the id: deduplicated
//                                    (one rerun possible per crash between effect and completion)
//
// A handler returns absl::Status or Outcome; a batch handler one of these for all, or a
// std::vector<Outcome> with one for each message in the order of the span. It may throw: an
// exception is a failed attempt that is retried; std::bad_alloc stops the partition. It must not
// swallow its own errors: whoever returns OK after a failure has settled the message.
//
// What a batch handler never sees: duplicates, an id twice in one span, a message behind one of its
// partition that waits. Where some of a batch failed, all is rolled back: the failed ones are
// judged by their outcomes and the others handed over again. Where a call that failed does not say
// which one is to blame, its messages are handed over again one by one.
#pragma once

#include <concepts>
#include <functional>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "once/message.h"
#include "once/outcome.h"
#include "once/transaction.h"

namespace once {

// absl::Status or Outcome, by value. An int is neither: 0 meaning success is a convention that no
// compiler can check.
template <typename R>
concept HandlerResult = std::same_as<std::remove_cvref_t<R>, Outcome> ||
    std::same_as<std::remove_cvref_t<R>, absl::Status>;

// Runs inside the store's transaction. Called from one thread at a time per consumer.
template <typename F>
concept TransactionalHandler = std::invocable<F&, const Message&, Transaction&> &&
    HandlerResult<std::invoke_result_t<F&, const Message&, Transaction&>>;

// Runs under a claim. Called from one thread at a time per consumer. A handler that fits both
// signatures is a transactional one.
template <typename F>
concept PlainHandler = std::invocable<F&, const Message&> &&
    HandlerResult<std::invoke_result_t<F&, const Message&>> && !TransactionalHandler<F>;

// One outcome for all messages of a span, or one for each of them in its order. A vector of another
// size is a failure of the handler (kInternal), whatever is in it.
using BatchOutcome = std::variant<Outcome, std::vector<Outcome>>;

// Runs inside the store's transaction, over at least one message. The messages live until it
// returns. Called from one thread at a time per consumer.
template <typename F>
concept BatchHandler =
    !TransactionalHandler<F> && std::invocable<F&, std::span<const Message* const>, Transaction&> &&
    (HandlerResult<std::invoke_result_t<F&, std::span<const Message* const>, Transaction&>> ||
     std::same_as<std::invoke_result_t<F&, std::span<const Message* const>, Transaction&>,
                  std::vector<Outcome>>);

// The erased forms that the engine calls. Exceptions still pass through it: the one `try` is the
// engine's InvokeHandler.
using TransactionalHandlerFunction = std::function<Outcome(const Message&, Transaction&)>;
using PlainHandlerFunction = std::function<Outcome(const Message&)>;
using BatchHandlerFunction =
    std::function<BatchOutcome(std::span<const Message* const>, Transaction&)>;

template <TransactionalHandler F>
TransactionalHandlerFunction EraseHandler(F handler) {
  return [handler = std::move(handler)](const Message& message,
                                        Transaction& transaction) mutable -> Outcome {
    return handler(message, transaction);
  };
}

template <PlainHandler F>
PlainHandlerFunction EraseHandler(F handler) {
  return [handler = std::move(handler)](const Message& message) mutable -> Outcome {
    return handler(message);
  };
}

template <BatchHandler F>
BatchHandlerFunction EraseHandler(F handler) {
  return [handler = std::move(handler)](std::span<const Message* const> messages,
                                        Transaction& transaction) mutable -> BatchOutcome {
    return handler(messages, transaction);
  };
}

}  // namespace once
