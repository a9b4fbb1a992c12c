// A Publisher sends messages and says, for each, whether the broker has acknowledged it.
// Thread-safety: safe for concurrent use.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/message.h"

namespace once {

struct OutgoingMessage {
  std::string topic;
  std::optional<std::int32_t> partition =
      std::nullopt;  // nullopt: by key, as the broker's client does it
  std::optional<std::string> key = std::nullopt;
  std::optional<std::string> value = std::nullopt;
  std::vector<OwnedHeader> headers = {};

  friend bool operator==(const OutgoingMessage&, const OutgoingMessage&) = default;
};

// Bytes of an outgoing message, for bounds and backlogs; framing excluded.
std::size_t SizeBytes(const OutgoingMessage& message);

class Publisher {
 public:
  virtual ~Publisher() = default;

  // Sends all of them, in order per key, and waits until each is acknowledged or has failed, at the
  // latest until `deadline`. outcomes[i] belongs to messages[i]:
  //   OK                 stored by the broker as durably as its settings say (acks=all)
  //   kUnknown           sent, and no acknowledgement by the deadline: may be stored
  //   kInvalidArgument   no retry can help: too large, no such topic, not allowed
  //   any other          not stored; a retry may help
  // REQUIRES: outcomes.size() == messages.size().
  virtual void Publish(std::span<const OutgoingMessage> messages, absl::Time deadline,
                       std::span<absl::Status> outcomes) = 0;
};

}  // namespace once
