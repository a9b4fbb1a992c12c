// An outcome that nobody looks at is a failure that nobody hears of.
// EXPECT: ignoring returned value of type
// EXPECT: once::Outcome
#pragma GCC diagnostic error "-Wunused-result"
#include "once/outcome.h"

void Handle() {
#ifdef ONCE_COMPILE_CONTROL
  const once::Outcome outcome = once::Reject("no such account");
  static_cast<void>(outcome.is_done());
#else
  once::Reject("no such account");
#endif
}
