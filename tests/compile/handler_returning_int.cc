// A handler that returns an int: 0 for success is a convention that no compiler can check.
// EXPECT: TransactionalHandler
// EXPECT: HandlerResult
#include "once/consumer.h"

#ifdef ONCE_COMPILE_CONTROL
using Result = absl::Status;
Result Ok() { return absl::OkStatus(); }
#else
using Result = int;
Result Ok() { return 0; }
#endif

void Run(once::ConsumerOptions options) {
  auto handler = [](const once::Message&, once::Transaction&) -> Result { return Ok(); };
  (void)once::Consumer::Create(std::move(options), handler);
}
