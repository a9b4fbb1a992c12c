// A message is a view of the receive buffer: a handler that takes it by value would copy the view.
// EXPECT: TransactionalHandler
#include "once/consumer.h"

#ifdef ONCE_COMPILE_CONTROL
using Parameter = const once::Message&;
#else
using Parameter = once::Message;
#endif

void Run(once::ConsumerOptions options) {
  auto handler = [](Parameter, once::Transaction&) { return absl::OkStatus(); };
  (void)once::Consumer::Create(std::move(options), handler);
}
