// The handler boundary: the library's only `try`.
#pragma once

#include "once/handler.h"

namespace once {

// Runs the handler. An exception becomes a retryable kUnknown status with its what(),
// std::bad_alloc becomes Pause: an allocation that fails says nothing about the message.
Outcome InvokeHandler(const TransactionalHandlerFunction& handler, const Message& message,
                      Transaction& transaction);

}  // namespace once
