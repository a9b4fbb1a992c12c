// The boundary to user code: the library's only `try`.
#pragma once

#include <string_view>

#include "absl/functional/function_ref.h"
#include "once/handler.h"

namespace once {

// Runs a call of the handler. An exception becomes a retryable kUnknown status with its what(),
// std::bad_alloc becomes Pause: an allocation that fails says nothing about the message.
Outcome InvokeHandler(absl::FunctionRef<Outcome()> call);

// Runs any other function of the user's: an id extractor, a fingerprint, a classification, a topic
// name. kInternal, naming `what`, when it throws.
absl::Status CatchExceptions(std::string_view what, absl::FunctionRef<void()> body);

}  // namespace once
