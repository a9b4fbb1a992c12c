// What may be handed to Consumer::Create. The signature decides the guarantee, not a flag:
//
//   (const Message&, Transaction&)   effect, id and position commit together: effectively-once
//   (const Message&)                 the effect lies elsewhere, a claim guards the id: deduplicated
//                                    (one rerun possible per crash between effect and completion)
//
// A handler returns absl::Status or Outcome. It may throw: an exception is a failed attempt that is
// retried; std::bad_alloc stops the partition. It must not swallow its own errors: whoever returns
// OK after a failure has settled the message.
#pragma once

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

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

// The erased forms that the engine calls. Exceptions still pass through it: the one `try` is the
// engine's InvokeHandler.
using TransactionalHandlerFunction = std::function<Outcome(const Message&, Transaction&)>;
using PlainHandlerFunction = std::function<Outcome(const Message&)>;

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

}  // namespace once
