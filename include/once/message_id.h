// Identity of a logical message: (scope, id) is the dedup key, the fingerprint tells whether two
// messages with one id carry the same value. Ids are kept as their own bytes, never as a hash: a
// collision would silently drop a message.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace once {

class Message;

// Longest id that is stored inline. Longer ids are dead-lettered as `invalid-id`, unless the
// extractor digests them (Sha256Of).
inline constexpr std::size_t kMessageIdBytesMax = 79;

// OK for 1 to kMessageIdBytesMax bytes of any content; else kInvalidArgument, naming the length.
absl::Status ValidateMessageId(std::string_view id);

// The default scope: consumer group and origin topic. Injective, whatever bytes the two contain.
std::string GroupTopicScope(std::string_view group, std::string_view topic);

// The scope a user names to merge topics, or to reprocess on purpose. Never equal to a default one.
std::string NamedScope(std::string_view name);

// The key under which a store keeps an id. Views: valid only during the call they are passed to.
struct IdKey {
  std::string_view scope;
  std::string_view id;

  friend bool operator==(const IdKey&, const IdKey&) = default;
};

// (scope, id) as one byte string: length-prefixed, so ("a:b", "c") and ("a", "b:c") differ.
std::string EncodeIdKey(const IdKey& key);

// The reverse; nullopt for bytes that EncodeIdKey never produces. The views point into `bytes`.
std::optional<IdKey> DecodeIdKey(std::string_view bytes);

// Names (scope, id) to a downstream system that deduplicates by itself: SHA-256 of EncodeIdKey, 64
// hex digits. The same on every attempt and in every process.
std::string IdempotencyKey(const IdKey& key);

// 128-bit hash (XXH3) of the value bytes, headers excluded. A null value and an empty one differ.
// All zero means "not fingerprinted" and matches everything.
struct Fingerprint {
  std::uint64_t high = 0;
  std::uint64_t low = 0;

  static Fingerprint Of(std::optional<std::string_view> value);

  bool is_set() const { return high != 0 || low != 0; }
  // Same id and no match is a conflict: two different messages under one id.
  bool Matches(const Fingerprint& other) const {
    return !is_set() || !other.is_set() || *this == other;
  }
  friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
};

// Computes the fingerprint of a message. Must be pure and thread-safe. Replace the default for
// producers that re-serialise a value on resend.
using FingerprintFunction = std::function<Fingerprint(const Message&)>;

// The default: Fingerprint::Of(message.value()).
FingerprintFunction ValueFingerprint();

// Null: no fingerprints. Conflicts go unnoticed, and the guarantee says so.
FingerprintFunction NoFingerprint();

}  // namespace once
