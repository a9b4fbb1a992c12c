// A wrapped function with a transaction that returns a result: nothing would keep it for later
// calls. It belongs into a table of the same transaction.
// EXPECT: WrappableFunction
#include "once/wrap.h"

#ifdef ONCE_COMPILE_CONTROL
using Result = absl::Status;
Result Receipt() { return absl::OkStatus(); }
#else
using Result = absl::StatusOr<std::string>;
Result Receipt() { return "receipt"; }
#endif

void Run(once::WrapOptions<int> options) {
  auto function = [](const int&, once::Transaction&) -> Result { return Receipt(); };
  (void)once::Wrap<int>(std::move(options), function);
}
