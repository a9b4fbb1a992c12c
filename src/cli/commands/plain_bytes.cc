// UTF-8 by RFC 3629, and the two spellings of a scope.
#include "src/cli/commands/plain_bytes.h"

#include <cstdint>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/message_id.h"

namespace once::cli {
namespace {

constexpr std::string_view kHex = "hex:";

// The code point at the front, which is taken off; nullopt when there is none.
std::optional<char32_t> TakeCodePoint(std::string_view& bytes) {
  const auto lead = static_cast<unsigned char>(bytes.front());
  std::size_t size = 0;
  char32_t point = 0;
  if (lead < 0x80) {
    size = 1;
    point = lead;
  } else if (lead >= 0xC2 && lead < 0xE0) {
    size = 2;
    point = lead & 0x1FU;
  } else if (lead >= 0xE0 && lead < 0xF0) {
    size = 3;
    point = lead & 0x0FU;
  } else if (lead >= 0xF0 && lead < 0xF5) {
    size = 4;
    point = lead & 0x07U;
  }
  if (size == 0 || size > bytes.size()) return std::nullopt;
  for (std::size_t i = 1; i < size; ++i) {
    const auto next = static_cast<unsigned char>(bytes[i]);
    if ((next & 0xC0U) != 0x80) return std::nullopt;
    point = (point << 6U) | (next & 0x3FU);
  }
  bytes.remove_prefix(size);
  const bool is_overlong = (size == 3 && point < 0x800) || (size == 4 && point < 0x10000);
  const bool is_surrogate = point >= 0xD800 && point < 0xE000;
  if (is_overlong || is_surrogate || point > 0x10FFFF) return std::nullopt;
  return point;
}

bool IsHarmless(char32_t point) {
  const bool is_control = point < 0x20 || (point >= 0x7F && point < 0xA0);
  const bool is_line_end = point == 0x2028 || point == 0x2029;
  const bool is_direction = point == 0x061C || point == 0x200E || point == 0x200F ||
                            (point >= 0x202A && point <= 0x202E) ||
                            (point >= 0x2066 && point <= 0x2069);
  return !is_control && !is_line_end && !is_direction;
}

struct GroupAndTopic {
  std::string_view group;
  std::string_view topic;
};

// The parts of a default scope; nullopt for another one.
std::optional<GroupAndTopic> SplitScope(std::string_view scope) {
  const std::size_t colon = scope.find(':');
  std::size_t size = 0;
  if (colon == std::string_view::npos || scope.front() != 'g' ||
      !absl::SimpleAtoi(ToAbsl(scope.substr(1, colon - 1)), &size)) {
    return std::nullopt;
  }
  const std::string_view rest = scope.substr(colon + 1);
  if (size >= rest.size() || rest[size] != '/') return std::nullopt;
  const GroupAndTopic parts{.group = rest.substr(0, size), .topic = rest.substr(size + 1)};
  if (GroupTopicScope(parts.group, parts.topic) != scope) return std::nullopt;
  return parts;
}

std::optional<std::string_view> NameOf(std::string_view scope) {
  const std::size_t prefix = NamedScope("").size();
  if (scope.size() < prefix || NamedScope(scope.substr(prefix)) != scope) return std::nullopt;
  return scope.substr(prefix);
}

}  // namespace

bool IsHarmlessText(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::optional<char32_t> point = TakeCodePoint(bytes);
    if (!point || !IsHarmless(*point)) return false;
  }
  return true;
}

std::string ShowBytes(std::string_view bytes) {
  const bool looks_encoded = bytes.substr(0, kHex.size()) == kHex;
  if (IsHarmlessText(bytes) && !looks_encoded) return std::string(bytes);
  return absl::StrCat(ToAbsl(kHex), absl::BytesToHexString(ToAbsl(bytes)));
}

std::optional<std::string> ReadBytes(std::string_view shown) {
  if (shown.substr(0, kHex.size()) != kHex) return std::string(shown);
  const std::string_view digits = shown.substr(kHex.size());
  const bool is_hex = digits.size() % 2 == 0 &&
                      digits.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
  if (!is_hex) return std::nullopt;
  return absl::HexStringToBytes(ToAbsl(digits));
}

std::string ShowSentence(std::string_view text) {
  if (IsHarmlessText(text)) return std::string(text);
  std::string shown;
  while (!text.empty()) {
    std::string_view rest = text;
    const std::optional<char32_t> point = TakeCodePoint(rest);
    const std::size_t size = point ? text.size() - rest.size() : 1;
    const std::string_view taken = text.substr(0, size);
    absl::StrAppend(
        &shown, point && IsHarmless(*point) ? std::string(taken) : absl::CHexEscape(ToAbsl(taken)));
    text.remove_prefix(size);
  }
  return shown;
}

std::string ShowScope(std::string_view scope) {
  if (const auto parts = SplitScope(scope)) {
    return absl::StrCat("group ", ShowBytes(parts->group), ", topic ", ShowBytes(parts->topic));
  }
  if (const auto name = NameOf(scope)) return absl::StrCat("scope ", ShowBytes(*name));
  return ShowBytes(scope);
}

bool IsNameOfScope(std::string_view text, std::string_view scope) {
  if (text == ShowScope(scope) || text == ShowBytes(scope)) return true;
  if (const std::optional<std::string> raw = ReadBytes(text); raw && *raw == scope) return true;
  if (const auto parts = SplitScope(scope)) {
    return text == absl::StrCat(ShowBytes(parts->group), "/", ShowBytes(parts->topic));
  }
  const auto name = NameOf(scope);
  return name && text == ShowBytes(*name);
}

}  // namespace once::cli
