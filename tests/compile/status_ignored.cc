// The end of a run is a status, and it must be looked at.
// EXPECT: ignoring returned value of type
// EXPECT: absl::
#pragma GCC diagnostic error "-Wunused-result"
#include "once/consumer.h"

void Run(once::Consumer& consumer) {
#ifdef ONCE_COMPILE_CONTROL
  if (!consumer.Stop().ok()) return;
#else
  consumer.Stop();
#endif
}
