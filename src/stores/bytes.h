// How the codecs of durable stores write values: integers little-endian, every text with its length
// in front, and a byte in front of what may be absent. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "once/message_id.h"

namespace once::stores {

template <typename Int>
void AppendInt(std::string& out, Int value) {
  const auto bits = static_cast<std::make_unsigned_t<Int>>(value);
  std::array<char, sizeof(Int)> bytes{};
  for (std::size_t i = 0; i < sizeof(Int); ++i) {
    bytes[i] = static_cast<char>(static_cast<unsigned char>((bits >> (8 * i)) & 0xFF));
  }
  out.append(bytes.data(), bytes.size());
}

// With a length of eight bytes; TakeBytes() reads it.
inline void AppendBytes(std::string& out, std::string_view bytes) {
  AppendInt(out, std::uint64_t{bytes.size()});
  out.append(bytes);
}

inline void AppendOptional(std::string& out, const std::optional<std::string>& bytes) {
  out.push_back(bytes ? 1 : 0);
  if (bytes) AppendBytes(out, *bytes);
}

// With a length of four bytes; TakeText() reads it.
inline void AppendText(std::string& out, std::string_view text) {
  AppendInt(out, static_cast<std::uint32_t>(text.size()));
  out.append(text);
}

inline void AppendPrint(std::string& out, const Fingerprint& print) {
  AppendInt(out, print.high);
  AppendInt(out, print.low);
}

// Takes values off the front. The first thing that is wrong makes it fail for good: then every
// value is zero and every text empty.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  bool is_ok() const { return is_ok_; }
  // Everything was read, and as it should be.
  bool is_done() const { return is_ok_ && rest_.empty(); }
  std::string_view rest() const { return rest_; }

  template <typename Int>
  Int TakeInt() {
    const std::string_view bytes = Take(sizeof(Int));
    std::make_unsigned_t<Int> bits = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const std::uint64_t byte = static_cast<unsigned char>(bytes[i]);
      bits = static_cast<std::make_unsigned_t<Int>>(bits | byte << (8 * i));
    }
    return static_cast<Int>(bits);
  }

  bool TakeFlag() {
    const auto flag = TakeInt<std::uint8_t>();
    Require(flag <= 1);
    return flag == 1;
  }

  std::string TakeBytes() { return std::string(Take(TakeInt<std::uint64_t>())); }

  std::optional<std::string> TakeOptional() {
    return TakeFlag() ? std::optional(TakeBytes()) : std::nullopt;
  }

  // Valid as long as the bytes that are read.
  std::string_view TakeText() { return Take(TakeInt<std::uint32_t>()); }
  std::string_view Take(std::uint64_t size) {
    Require(size <= rest_.size());
    if (!is_ok_) return {};
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  Fingerprint TakePrint() {
    Fingerprint print;
    print.high = TakeInt<std::uint64_t>();
    print.low = TakeInt<std::uint64_t>();
    return print;
  }

  // Says so when something that was read makes no sense.
  void Require(bool holds) {
    if (holds) return;
    is_ok_ = false;
    rest_ = {};
  }

 private:
  std::string_view rest_;
  bool is_ok_ = true;
};

}  // namespace once::stores
