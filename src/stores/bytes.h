// How the codecs of durable stores write values: integers little-endian, every text with its length
// in front (eight bytes), and a byte in front of what may be absent. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace once::stores {

template <typename Int>
void AppendInt(std::string& out, Int value) {
  auto bits = static_cast<std::make_unsigned_t<Int>>(value);
  for (std::size_t i = 0; i < sizeof(Int); ++i) {
    out.push_back(static_cast<char>(static_cast<unsigned char>((bits >> (8 * i)) & 0xff)));
  }
}

inline void AppendBytes(std::string& out, std::string_view bytes) {
  AppendInt(out, std::uint64_t{bytes.size()});
  out.append(bytes);
}

inline void AppendOptional(std::string& out, const std::optional<std::string>& bytes) {
  out.push_back(bytes ? 1 : 0);
  if (bytes) AppendBytes(out, *bytes);
}

// Takes values off the front. The first thing that is wrong makes it fail for good.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  bool is_ok() const { return is_ok_; }
  bool is_at_end() const { return rest_.empty(); }
  std::size_t left() const { return rest_.size(); }

  template <typename Int>
  Int TakeInt() {
    const std::string_view bytes = TakeRaw(sizeof(Int));
    std::make_unsigned_t<Int> bits = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      bits |= static_cast<std::make_unsigned_t<Int>>(
          static_cast<std::make_unsigned_t<Int>>(static_cast<unsigned char>(bytes[i])) << (8 * i));
    }
    return static_cast<Int>(bits);
  }

  bool TakeFlag() {
    const auto flag = TakeInt<std::uint8_t>();
    if (flag > 1) is_ok_ = false;
    return flag == 1;
  }

  std::string TakeBytes() { return std::string(TakeRaw(TakeInt<std::uint64_t>())); }

  std::optional<std::string> TakeOptional() {
    return TakeFlag() ? std::optional(TakeBytes()) : std::nullopt;
  }

 private:
  std::string_view TakeRaw(std::uint64_t size) {
    if (!is_ok_ || size > rest_.size()) {
      is_ok_ = false;
      return {};
    }
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  std::string_view rest_;
  bool is_ok_ = true;
};

}  // namespace once::stores
