// PackedId: a message id in as few bytes as its text permits without loss. Hex text and UUIDs,
// which most ids are, take half of theirs; everything else stays as it is. Packing is injective and
// every id has one packed form only, so packed ids are compared instead of their texts.
// Private to src/stores. Thread-safety: values.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "once/message_id.h"

namespace once::stores {

// Stored: numbers never change their meaning.
enum class IdForm : std::uint8_t {
  kRaw = 0,
  kHexLower = 1,  // an even number of digits; also when they are all decimal
  kHexUpper = 2,
  kUuidLower = 3,  // 8-4-4-4-12; also when all digits are decimal
  kUuidUpper = 4,
};
inline constexpr std::uint8_t kIdForms = 5;

struct PackedId {
  std::string_view bytes() const { return {text.data(), size}; }

  IdForm form = IdForm::kRaw;
  std::uint8_t size = 0;
  std::array<char, kMessageIdBytesMax> text;  // NOLINT: as much as `size` says is written
};

// REQUIRES: 1 to kMessageIdBytesMax bytes.
PackedId Pack(std::string_view id);

struct UnpackedId {
  std::string_view id() const { return {text.data(), size}; }

  std::uint8_t size = 0;
  std::array<char, kMessageIdBytesMax> text;  // NOLINT: as much as `size` says is written
};

// REQUIRES: IsPacked(form, bytes).
UnpackedId Unpack(IdForm form, std::string_view bytes);

// Whether Pack() gives this for some id: what was read is checked before it is believed.
bool IsPacked(IdForm form, std::string_view bytes);

}  // namespace once::stores
