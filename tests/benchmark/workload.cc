// Ids and values of the benchmark's orders.
#include "tests/benchmark/workload.h"

#include <charconv>

namespace once::benchmark {
namespace {

void AppendHex(std::uint64_t number, std::string& out) {
  for (int shift = 60; shift >= 0; shift -= 4)
    out.push_back("0123456789abcdef"[number >> shift & 15]);
}

}  // namespace

std::string IdOf(std::int64_t order) {
  constexpr std::uint64_t kOtherHalf = 0x9e3779b97f4a7c15ULL;
  const auto number = static_cast<std::uint64_t>(order);
  std::string id;
  id.reserve(32);
  AppendHex(Scramble(number + 1), id);  // a permutation: this half alone tells orders apart
  AppendHex(Scramble(number ^ kOtherHalf), id);
  return id;
}

std::string ValueOf(std::int64_t order) {
  std::string digits = std::to_string(order);
  std::string value(kOrderDigits - digits.size(), '0');
  value.append(digits);
  std::uint64_t filler = static_cast<std::uint64_t>(order);
  while (value.size() < kValueBytes) {
    filler = Scramble(filler + 1);
    AppendHex(filler, value);
  }
  value.resize(kValueBytes);
  return value;
}

std::optional<std::int64_t> ParseOrder(std::string_view value) {
  if (value.size() != kValueBytes) return std::nullopt;
  std::int64_t order = 0;
  const char* const end = value.data() + kOrderDigits;
  const auto [stopped, error] = std::from_chars(value.data(), end, order);
  if (error != std::errc() || stopped != end) return std::nullopt;
  return order;
}

}  // namespace once::benchmark
