// Injective encodings of scopes and dedup keys, and the value fingerprint.
//
// A length is written as a LEB128 varint, so a prefix can never be read as another length.
#include "once/message_id.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <array>
#include <string>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "absl/strings/escaping.h"
#include "once/message.h"

namespace once {
namespace {

// The first byte of a scope tells its kind, so a named one never equals a default one.
constexpr char kGroupTopicScope = 'g';
constexpr char kNamedScope = 'n';

// Fingerprints of null and of empty values differ by their seed alone.
constexpr XXH64_hash_t kNullSeed = 1;
constexpr XXH64_hash_t kValueSeed = 0;

constexpr unsigned kVarintBits = 7;
constexpr unsigned char kVarintMore = 0x80;

void AppendVarint(std::size_t value, std::string& out) {
  while (value >= kVarintMore) {
    out.push_back(static_cast<char>((value & 0x7F) | kVarintMore));
    value >>= kVarintBits;
  }
  out.push_back(static_cast<char>(value));
}

void AppendPrefixed(std::string_view text, std::string& out) {
  AppendVarint(text.size(), out);
  out.append(text);
}

// Takes a varint off the front; nullopt for a cut, overlong or oversized one.
std::optional<std::size_t> TakeVarint(std::string_view& bytes) {
  std::size_t value = 0;
  for (unsigned shift = 0; shift < 63 && !bytes.empty(); shift += kVarintBits) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<std::size_t>(byte & 0x7F) << shift;
    if ((byte & kVarintMore) == 0) {
      const bool is_overlong = byte == 0 && shift > 0;
      return is_overlong ? std::nullopt : std::optional(value);
    }
  }
  return std::nullopt;
}

}  // namespace

absl::Status ValidateMessageId(std::string_view id) {
  if (id.empty()) return absl::InvalidArgumentError("message id is empty");
  if (id.size() > kMessageIdBytesMax) {
    return absl::InvalidArgumentError("message id has " + std::to_string(id.size()) +
                                      " bytes, at most " + std::to_string(kMessageIdBytesMax) +
                                      " are stored; digest longer ids with once::Sha256Of");
  }
  return absl::OkStatus();
}

std::string GroupTopicScope(std::string_view group, std::string_view topic) {
  // "g7:billing/payments": readable in a dead letter, and injective by the length in front.
  std::string scope(1, kGroupTopicScope);
  scope.append(std::to_string(group.size())).append(":").append(group).append("/").append(topic);
  return scope;
}

std::string NamedScope(std::string_view name) {
  std::string scope(1, kNamedScope);
  scope.append(":").append(name);
  return scope;
}

std::string EncodeIdKey(const IdKey& key) {
  std::string bytes;
  bytes.reserve(key.scope.size() + key.id.size() + 2);
  AppendPrefixed(key.scope, bytes);
  bytes.append(key.id);
  return bytes;
}

std::optional<IdKey> DecodeIdKey(std::string_view bytes) {
  const std::optional<std::size_t> scope_size = TakeVarint(bytes);
  if (!scope_size || *scope_size > bytes.size()) return std::nullopt;
  return IdKey{.scope = bytes.substr(0, *scope_size), .id = bytes.substr(*scope_size)};
}

std::string IdempotencyKey(const IdKey& key) {
  const std::string bytes = EncodeIdKey(key);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  return absl::BytesToHexString(
      std::string(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

Fingerprint Fingerprint::Of(std::optional<std::string_view> value) {
  const XXH128_hash_t hash = value ? XXH3_128bits_withSeed(value->data(), value->size(), kValueSeed)
                                   : XXH3_128bits_withSeed("", 0, kNullSeed);
  Fingerprint fingerprint{.high = hash.high64, .low = hash.low64};
  if (!fingerprint.is_set()) fingerprint.low = 1;  // all zero is taken: "not fingerprinted"
  return fingerprint;
}

FingerprintFunction ValueFingerprint() {
  return [](const Message& message) { return Fingerprint::Of(message.value()); };
}

FingerprintFunction NoFingerprint() { return nullptr; }

}  // namespace once
