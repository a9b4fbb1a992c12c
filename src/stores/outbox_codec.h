// How outbox rows become bytes: every part with its length in front, so that different messages and
// different origins never look alike. Private to our stores; the first byte is the version.
// Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/outbox.h"

namespace once::stores {

std::string EncodeMessage(const OutgoingMessage& message);

// kDataLoss for bytes that EncodeMessage never produces.
absl::StatusOr<OutgoingMessage> DecodeMessage(std::string_view bytes);
// The same into `message`, whose memory it uses; after an error that is anything.
absl::Status DecodeMessage(std::string_view bytes, OutgoingMessage& message);

std::string EncodeOrigin(const OutboxOrigin& origin);

// kDataLoss for bytes that EncodeOrigin never produces.
absl::StatusOr<OutboxOrigin> DecodeOrigin(std::string_view bytes);

}  // namespace once::stores
