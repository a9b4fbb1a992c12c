// The boundary to user code: the library's only `try`.
#pragma once

#include <functional>
#include <string_view>

#include "once/handler.h"

namespace once {

// Runs the handler. An exception becomes a retryable kUnknown status with its what(),
// std::bad_alloc becomes Pause: an allocation that fails says nothing about the message.
Outcome InvokeHandler(const TransactionalHandlerFunction& handler, const Message& message,
                      Transaction& transaction);

// Runs any other function of the user's: an id extractor, a fingerprint, a classification, a topic
// name. kInternal, naming `what`, when it throws.
absl::Status CatchExceptions(std::string_view what, const std::function<void()>& body);

}  // namespace once
