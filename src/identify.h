// Identify computes what the dedup protocols need to know of a message, once, however often it is
// tried afterwards: its id, and the fingerprint, which only matters where a record of the id is
// read or written.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "once/id_extractor.h"
#include "once/message.h"
#include "once/message_id.h"

namespace once {

// Neither copied nor moved: `id` may point into `scratch`.
struct Identity {
  std::string scratch;    // holds the id when it is not a view into the message
  std::string_view id;    // empty when there is none, or when it is invalid
  absl::Status id_error;  // kNotFound: no id; kInvalidArgument: not a valid one
  Fingerprint fingerprint;
  absl::Status fingerprint_error;  // the user's function threw
};

// The user's functions may throw; what they throw becomes one of the two errors.
void Identify(const Message& message, const IdExtractor& extractor,
              const FingerprintFunction& fingerprint, Identity& identity);

// The two halves. A message without a valid id has no fingerprint.
void ExtractId(const Message& message, const IdExtractor& extractor, Identity& identity);
void TakeFingerprint(const Message& message, const FingerprintFunction& fingerprint,
                     Identity& identity);

}  // namespace once
