// A handler without a Transaction& cannot have its effect committed together with the id.
// EXPECT: TransactionalHandler
#include "once/consumer.h"

void Run(once::ConsumerOptions options) {
#ifdef ONCE_COMPILE_CONTROL
  auto handler = [](const once::Message&, once::Transaction&) { return absl::OkStatus(); };
#else
  auto handler = [](const once::Message&) { return absl::OkStatus(); };
#endif
  (void)once::Consumer::Create(std::move(options), handler);
}
