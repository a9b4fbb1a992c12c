// A fuzz target is one file: a function that takes any bytes and must never crash, hang, leak or
// break a rule, and the seeds from which the search begins. libFuzzer calls it (`./dev fuzz`), and
// so does replay.cc in every ordinary build.
// Thread-safety: one input at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace once::testing {

// Inputs that lead deep into the code. Defined by every target.
std::vector<std::string> FuzzSeeds();

// Writes them into `folder`, one file each. False, with a word on standard error, when it cannot.
bool WriteSeeds(const std::string& folder);

// Ends the program with a word on what was broken, which is how a fuzzer notices.
inline void Require(bool holds, std::string_view rule) {
  if (holds) return;
  std::fprintf(stderr, "BROKEN RULE: %.*s\n", static_cast<int>(rule.size()), rule.data());
  std::abort();
}

// Takes values off the front of an input; zeros and nothing when it is used up.
class FuzzInput {
 public:
  FuzzInput(const std::uint8_t* data, std::size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {}

  bool is_empty() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }

  // Little-endian.
  template <typename Int>
  Int Take() {
    std::make_unsigned_t<Int> bits = 0;
    for (std::size_t i = 0; i < sizeof(Int) && !rest_.empty(); ++i) {
      const std::uint64_t byte = static_cast<unsigned char>(rest_.front());
      bits = static_cast<std::make_unsigned_t<Int>>(bits | byte << (8 * i));
      rest_.remove_prefix(1);
    }
    return static_cast<Int>(bits);
  }

  // In [0, bound). REQUIRES: bound >= 1.
  std::size_t TakeBelow(std::size_t bound) { return Take<std::uint32_t>() % bound; }

  bool TakeBool() { return (Take<std::uint8_t>() & 1) != 0; }

  // A length of two bytes, then as many bytes as there are.
  std::string_view TakeText() {
    const auto size = Take<std::uint16_t>();
    const std::string_view text = rest_.substr(0, size);
    rest_.remove_prefix(text.size());
    return text;
  }

  std::optional<std::string_view> TakeOptional() {
    return TakeBool() ? std::optional(TakeText()) : std::nullopt;
  }

 private:
  std::string_view rest_;
};

// The reverse, for seeds.
class SeedWriter {
 public:
  template <typename Int>
  SeedWriter& Put(Int value) {
    const auto bits = static_cast<std::make_unsigned_t<Int>>(value);
    for (std::size_t i = 0; i < sizeof(Int); ++i) {
      seed_.push_back(static_cast<char>(static_cast<unsigned char>(bits >> (8 * i))));
    }
    return *this;
  }
  SeedWriter& PutText(std::string_view text) {
    Put(static_cast<std::uint16_t>(text.size()));
    seed_.append(text);
    return *this;
  }
  SeedWriter& PutOptional(std::optional<std::string_view> text) {
    Put(static_cast<std::uint8_t>(text ? 1 : 0));
    return text ? PutText(*text) : *this;
  }
  const std::string& seed() const { return seed_; }

 private:
  std::string seed_;
};

}  // namespace once::testing
