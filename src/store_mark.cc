// The text form of a StoreMark.
#include "src/store_mark.h"

#include <algorithm>
#include <charconv>
#include <cstddef>

namespace once {
namespace {

constexpr std::string_view kVersion = "once/1 open=";
constexpr std::string_view kBegan = " began=";
constexpr std::string_view kStore = " store=";
constexpr std::size_t kStoreIdBytesMax = 64;  // StoreTraits::id

// Cuts `expected` off the front of `text`; false when it is not there.
bool Skip(std::string_view& text, std::string_view expected) {
  if (!text.starts_with(expected)) return false;
  text.remove_prefix(expected.size());
  return true;
}

template <typename Number>
bool SkipNumber(std::string_view& text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

bool IsStoreId(std::string_view id) {
  return !id.empty() && id.size() <= kStoreIdBytesMax &&
         std::all_of(id.begin(), id.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

}  // namespace

std::string FormatStoreMark(const StoreMark& mark) {
  if (mark.store_id.empty()) return "";
  std::string text(kVersion);
  text.append(std::to_string(mark.open_count)).append(kBegan);
  text.append(mark.began ? std::to_string(*mark.began) : "-").append(kStore).append(mark.store_id);
  return text;
}

std::optional<StoreMark> ParseStoreMark(std::string_view metadata) {
  StoreMark mark;
  std::string_view rest = metadata;
  if (!Skip(rest, kVersion) || !SkipNumber(rest, mark.open_count) || !Skip(rest, kBegan)) {
    return std::nullopt;
  }
  if (!Skip(rest, "-")) {
    std::int64_t began = 0;
    if (!SkipNumber(rest, began) || began < 0) return std::nullopt;
    mark.began = began;
  }
  if (!Skip(rest, kStore) || !IsStoreId(rest)) return std::nullopt;
  mark.store_id = rest;
  // Leading zeros, say: readable, and not of this library.
  return FormatStoreMark(mark) == metadata ? std::optional(mark) : std::nullopt;
}

}  // namespace once
