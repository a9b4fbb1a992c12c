// Copying a message would leave a view of a buffer that is given back; OwnedMessage is the copy.
// EXPECT: use of deleted function
// EXPECT: once::Message::Message(const once::Message&)
#include "once/message.h"

std::size_t KeepForLater(const once::Message& message) {
#ifdef ONCE_COMPILE_CONTROL
  const once::OwnedMessage kept(message);
  return kept.size_bytes();
#else
  const once::Message kept = message;
  return kept.header_count();
#endif
}
