// Size of an outgoing message.
#include "once/publisher.h"

namespace once {

std::size_t SizeBytes(const OutgoingMessage& message) {
  std::size_t bytes = message.topic.size() + (message.key ? message.key->size() : 0) +
                      (message.value ? message.value->size() : 0);
  for (const OwnedHeader& header : message.headers) {
    bytes += header.name.size() + (header.value ? header.value->size() : 0);
  }
  return bytes;
}

}  // namespace once
