// Exceptions of user code end here.
#include "src/invoke_handler.h"

#include <exception>
#include <new>
#include <string>

namespace once {

Outcome InvokeHandler(const TransactionalHandlerFunction& handler, const Message& message,
                      Transaction& transaction) {
  try {
    return handler(message, transaction);
  } catch (const std::bad_alloc&) {
    return Pause("the handler ran out of memory (std::bad_alloc)");
  } catch (const std::exception& error) {
    return absl::UnknownError(std::string("the handler threw: ") + error.what());
  } catch (...) {
    return absl::UnknownError("the handler threw something that is not a std::exception");
  }
}

}  // namespace once
