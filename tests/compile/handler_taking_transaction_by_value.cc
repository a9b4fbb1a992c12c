// A handler that takes its transaction by value fits neither signature.
// EXPECT: PlainHandler
#include "once/consumer.h"

void Run(once::ConsumerOptions options) {
#ifdef ONCE_COMPILE_CONTROL
  auto handler = [](const once::Message&, once::Transaction&) { return absl::OkStatus(); };
#else
  auto handler = [](const once::Message&, once::Transaction) { return absl::OkStatus(); };
#endif
  (void)once::Consumer::Create(std::move(options), handler);
}
