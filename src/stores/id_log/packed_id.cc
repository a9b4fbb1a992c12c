// Digits by table: one look at each character tells its value, its case and whether it is one.
#include "src/stores/id_log/packed_id.h"

#include <cassert>
#include <cstddef>
#include <cstring>

namespace once::stores {
namespace {

constexpr std::uint8_t kValueBits = 0x0F;
constexpr std::uint8_t kIsUpper = 0x20;
constexpr std::uint8_t kIsLower = 0x40;
constexpr std::uint8_t kIsNone = 0x80;

constexpr std::array<std::uint8_t, 256> MakeDigits() {
  std::array<std::uint8_t, 256> digits{};
  digits.fill(kIsNone);
  for (std::uint8_t i = 0; i < 10; ++i) digits[static_cast<std::size_t>('0' + i)] = i;
  for (std::uint8_t i = 10; i < 16; ++i) {
    digits[static_cast<std::size_t>('a' + i - 10)] = static_cast<std::uint8_t>(i | kIsLower);
    digits[static_cast<std::size_t>('A' + i - 10)] = static_cast<std::uint8_t>(i | kIsUpper);
  }
  return digits;
}
constexpr std::array<std::uint8_t, 256> kDigits = MakeDigits();
constexpr char kLower[] = "0123456789abcdef";
constexpr char kUpper[] = "0123456789ABCDEF";

constexpr std::size_t kUuidText = 36;
constexpr std::size_t kUuidBytes = 16;
constexpr bool IsDashAt(std::size_t at) { return at == 8 || at == 13 || at == 18 || at == 23; }

// Writes the bytes that the digits of `text` spell and gives what was met among them.
std::uint8_t PackDigits(const char* text, std::size_t bytes, char* out) {
  std::uint8_t met = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    const std::uint8_t high = kDigits[static_cast<unsigned char>(text[2 * i])];
    const std::uint8_t low = kDigits[static_cast<unsigned char>(text[2 * i + 1])];
    met |= high | low;
    out[i] = static_cast<char>((high & kValueBits) << 4 | (low & kValueBits));
  }
  return met;
}

bool IsOneCase(std::uint8_t met) {
  return (met & kIsNone) == 0 && (met & (kIsLower | kIsUpper)) != (kIsLower | kIsUpper);
}

bool HasLetter(std::string_view bytes) {
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte >> 4) > 9 || (byte & kValueBits) > 9) return true;
  }
  return false;
}

void AppendDigits(std::string_view bytes, const char* digits, UnpackedId& out) {
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out.text[out.size++] = digits[byte >> 4];
    out.text[out.size++] = digits[byte & kValueBits];
  }
}

bool TryPackUuid(std::string_view id, PackedId& packed) {
  if (id.size() != kUuidText) return false;
  std::array<char, 2 * kUuidBytes> digits{};
  std::size_t used = 0;
  for (std::size_t i = 0; i < kUuidText; ++i) {
    if (!IsDashAt(i)) {
      digits[used++] = id[i];
    } else if (id[i] != '-') {
      return false;
    }
  }
  const std::uint8_t met = PackDigits(digits.data(), kUuidBytes, packed.text.data());
  if (!IsOneCase(met)) return false;
  packed.form = (met & kIsUpper) != 0 ? IdForm::kUuidUpper : IdForm::kUuidLower;
  packed.size = kUuidBytes;
  return true;
}

bool TryPackHex(std::string_view id, PackedId& packed) {
  if (id.size() % 2 != 0) return false;
  const std::uint8_t met = PackDigits(id.data(), id.size() / 2, packed.text.data());
  if (!IsOneCase(met)) return false;
  packed.form = (met & kIsUpper) != 0 ? IdForm::kHexUpper : IdForm::kHexLower;
  packed.size = static_cast<std::uint8_t>(id.size() / 2);
  return true;
}

}  // namespace

PackedId Pack(std::string_view id) {
  assert(!id.empty() && id.size() <= kMessageIdBytesMax);
  PackedId packed;
  if (TryPackHex(id, packed) || TryPackUuid(id, packed)) return packed;
  packed.form = IdForm::kRaw;
  packed.size = static_cast<std::uint8_t>(id.size());
  std::memcpy(packed.text.data(), id.data(), id.size());
  return packed;
}

UnpackedId Unpack(IdForm form, std::string_view bytes) {
  UnpackedId out;
  const bool is_upper = form == IdForm::kHexUpper || form == IdForm::kUuidUpper;
  const char* digits = is_upper ? kUpper : kLower;
  if (form == IdForm::kRaw) {
    std::memcpy(out.text.data(), bytes.data(), bytes.size());
    out.size = static_cast<std::uint8_t>(bytes.size());
  } else if (form == IdForm::kHexLower || form == IdForm::kHexUpper) {
    AppendDigits(bytes, digits, out);
  } else {
    for (const std::size_t part : {4U, 2U, 2U, 2U, 6U}) {
      if (out.size > 0) out.text[out.size++] = '-';
      AppendDigits(bytes.substr(0, part), digits, out);
      bytes.remove_prefix(part);
    }
  }
  return out;
}

bool IsPacked(IdForm form, std::string_view bytes) {
  switch (form) {
    case IdForm::kRaw:
      return !bytes.empty() && bytes.size() <= kMessageIdBytesMax &&
             Pack(bytes).form == IdForm::kRaw;
    case IdForm::kHexLower:
      return !bytes.empty() && bytes.size() <= kMessageIdBytesMax / 2;
    case IdForm::kHexUpper:
      return !bytes.empty() && bytes.size() <= kMessageIdBytesMax / 2 && HasLetter(bytes);
    case IdForm::kUuidLower:
      return bytes.size() == kUuidBytes;
    case IdForm::kUuidUpper:
      return bytes.size() == kUuidBytes && HasLetter(bytes);
  }
  return false;
}

}  // namespace once::stores
