// A handler that returns nothing could not report a failure.
// EXPECT: HandlerResult
#include "once/consumer.h"

void Run(once::ConsumerOptions options) {
  auto handler = [](const once::Message&, once::Transaction&) {
#ifdef ONCE_COMPILE_CONTROL
    return absl::OkStatus();
#endif
  };
  (void)once::Consumer::Create(std::move(options), handler);
}
