// A batch handler that returns statuses: which of them would a retry policy be asked about?
// EXPECT: BatchHandler
#include <span>
#include <vector>

#include "once/consumer.h"

#ifdef ONCE_COMPILE_CONTROL
using Result = once::Outcome;
#else
using Result = absl::Status;
#endif

void Run(once::ConsumerOptions options) {
  auto handler = [](std::span<const once::Message* const>,
                    once::Transaction&) -> std::vector<Result> { return {}; };
  (void)once::Consumer::Create(std::move(options), handler);
}
