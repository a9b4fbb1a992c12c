// Id and fingerprint of a message, by the user's functions.
#include "src/identify.h"

#include <optional>

#include "src/invoke_handler.h"

namespace once {

void ExtractId(const Message& message, const IdExtractor& extractor, Identity& identity) {
  std::optional<std::string_view> id;
  const absl::Status extracted = CatchExceptions(
      "the id extractor", [&] { id = extractor.Extract(message, identity.scratch); });
  if (!extracted.ok()) {
    identity.id_error = absl::InvalidArgumentError(extracted.message());
    return;
  }
  identity.id_error =
      id ? ValidateMessageId(*id)
         : absl::NotFoundError("no message id: " + extractor.name() + " found nothing");
  if (identity.id_error.ok()) identity.id = *id;
}

void TakeFingerprint(const Message& message, const FingerprintFunction& fingerprint,
                     Identity& identity) {
  if (!fingerprint || !identity.id_error.ok()) return;
  identity.fingerprint_error = CatchExceptions(
      "the fingerprint function", [&] { identity.fingerprint = fingerprint(message); });
}

void Identify(const Message& message, const IdExtractor& extractor,
              const FingerprintFunction& fingerprint, Identity& identity) {
  ExtractId(message, extractor, identity);
  TakeFingerprint(message, fingerprint, identity);
}

}  // namespace once
