// Exceptions of user code end here.
#include "src/invoke_handler.h"

#include <exception>
#include <new>
#include <string>

namespace once {

Outcome InvokeHandler(absl::FunctionRef<Outcome()> call) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return Pause("the handler ran out of memory (std::bad_alloc)");
  } catch (const std::exception& error) {
    return absl::UnknownError(std::string("the handler threw: ") + error.what());
  } catch (...) {
    return absl::UnknownError("the handler threw something that is not a std::exception");
  }
}

absl::Status CatchExceptions(std::string_view what, absl::FunctionRef<void()> body) {
  try {
    body();
    return absl::OkStatus();
  } catch (const std::exception& error) {
    return absl::InternalError(std::string(what) + " threw: " + error.what());
  } catch (...) {
    return absl::InternalError(std::string(what) + " threw something unknown");
  }
}

}  // namespace once
