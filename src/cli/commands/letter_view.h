// A kept dead letter as a person reads it: what its once-* headers say, and the message without
// them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "once/operations.h"

namespace once::cli {

// Empty where the letter does not say it.
struct LetterReasons {
  std::string disposition;
  std::string attempts;
  std::string error_code;
  std::string error_message;
  std::string first_failed_at;
  std::string last_failed_at;
};

LetterReasons ReadReasons(const OutgoingMessage& letter);

// "orders[3]@1204"
std::string ShowOrigin(const OutboxOrigin& origin);

enum class LetterDetail : std::uint8_t {
  kSummary,  // one line of a list
  kHeaders,  // with key, headers and the size of the payload
  kPayload,  // with the payload itself
};

nlohmann::ordered_json DescribeFailure(const StoredFailure& failure, LetterDetail detail);

// Names and values in lines.
std::string ShowFailure(const StoredFailure& failure, LetterDetail detail);

}  // namespace once::cli
