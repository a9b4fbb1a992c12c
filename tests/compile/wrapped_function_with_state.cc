// A wrapped function that changes its own state: many threads call it at once.
// EXPECT: WrappableFunction
#include "once/wrap.h"

void Run(once::WrapOptions<int> options) {
#ifdef ONCE_COMPILE_CONTROL
  auto function = [calls = 0](const int&) {
    return calls == 0 ? absl::OkStatus() : absl::OkStatus();
  };
#else
  auto function = [calls = 0](const int&) mutable {
    return ++calls > 0 ? absl::OkStatus() : absl::OkStatus();
  };
#endif
  (void)once::Wrap<int>(std::move(options), function);
}
