// Keys made and read, and patterns whose bytes mean themselves.
#include "adapters/redis/keys.h"

#include <algorithm>
#include <cstddef>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::redis {
namespace {

// Of the hash in an id's key: what a cluster places it by, so that further keys of an id can join
// it.
constexpr std::size_t kTagDigits = 16;

std::string Tag(const IdKey& key) {
  return absl::StrCat("{", IdempotencyKey(key).substr(0, kTagDigits), "}");
}

// `text` as a pattern that nothing else fits.
std::string Literally(std::string_view text) {
  std::string pattern;
  for (const char byte : text) {
    if (std::string_view("*?[]\\").find(byte) != std::string_view::npos) pattern.push_back('\\');
    pattern.push_back(byte);
  }
  return pattern;
}

bool IsHexadecimal(std::string_view text) {
  constexpr std::size_t kDigitsMax = 16;
  return !text.empty() && text.size() <= kDigitsMax &&
         std::all_of(text.begin(), text.end(),
                     [](unsigned char digit) { return absl::ascii_isxdigit(digit); });
}

// {witness}:1a2b, {witness.3}:1a2b, or {witness.3.4c}:1a2b.
bool IsWitness(std::string_view name) {
  const std::size_t end = name.find("}:");
  if (end == std::string_view::npos || !name.starts_with('{')) return false;
  std::string_view tag = name.substr(1, end - 1);
  if (!tag.starts_with(kWitnessTag) || !IsHexadecimal(name.substr(end + 2))) return false;
  tag.remove_prefix(kWitnessTag.size());
  while (tag.starts_with('.')) {
    const std::string_view part = tag.substr(1, tag.substr(1).find('.'));
    if (!IsHexadecimal(part)) return false;
    tag.remove_prefix(1 + part.size());
  }
  return tag.empty();
}

}  // namespace

std::string KeyNames::OfId(const IdKey& key) const {
  return absl::StrCat(prefix_, Tag(key), EncodeIdKey(key));
}

std::string KeyNames::OfWitness(std::string_view tag, std::uint64_t incarnation) const {
  return absl::StrCat(prefix_, "{", ToAbsl(tag), "}:", absl::Hex(incarnation));
}

std::string KeyNames::Pattern() const { return Literally(prefix_) + "{*"; }

std::string KeyNames::PatternOfId(std::string_view id) const {
  return absl::StrCat(Literally(prefix_), "{", std::string(kTagDigits, '?'), "}*", Literally(id));
}

KeyNames::Meaning KeyNames::Read(std::string_view key) const {
  if (!key.starts_with(prefix_)) return {};
  if (key == OfStore()) return {.kind = Kind::kStore};
  if (key == OfScopes()) return {.kind = Kind::kScopes};
  const std::string_view name = key.substr(prefix_.size());
  if (IsWitness(name)) return {.kind = Kind::kWitness};
  constexpr std::size_t kTagBytes = kTagDigits + 2;
  if (name.size() <= kTagBytes) return {};
  const std::optional<IdKey> id = DecodeIdKey(name.substr(kTagBytes));
  if (!id || OfId(*id) != key) return {};
  return {.kind = Kind::kId, .id = *id};
}

}  // namespace once::redis
