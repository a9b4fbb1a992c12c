// The metadata that is read back from a broker's committed offset: nothing but what FormatStoreMark
// writes is a mark, and every mark comes back as it was.
#include "src/store_mark.h"

#include <algorithm>

#include "tests/fuzz/fuzz_target.h"

namespace once::testing {
namespace {

// What a broker stores with an offset by default (offset.metadata.max.bytes).
constexpr std::size_t kBrokerBytesMax = 4096;

void CheckText(std::string_view text) {
  const std::optional<StoreMark> mark = ParseStoreMark(text);
  if (!mark) return;
  Require(FormatStoreMark(*mark) == text, "a text that is a mark is what its mark is written as");
  Require(text.size() <= kBrokerBytesMax, "a mark fits into the broker's metadata");
  Require(!mark->store_id.empty() && mark->began.value_or(0) >= 0, "a mark makes sense");
}

void CheckMark(FuzzInput& input) {
  StoreMark mark{.open_count = input.Take<std::uint64_t>()};
  if (input.TakeBool()) mark.began = input.Take<std::int64_t>() & INT64_MAX;
  mark.store_id = input.TakeText().substr(0, 64);
  std::for_each(mark.store_id.begin(), mark.store_id.end(),
                [](char& c) { c = static_cast<char>(' ' + (c & 0x7F) % ('~' - ' ' + 1)); });
  const std::string text = FormatStoreMark(mark);
  if (mark.store_id.empty()) {
    Require(text.empty(), "a store without an id leaves no mark");
    return;
  }
  Require(ParseStoreMark(text) == mark, "a mark comes back as it was");
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  std::vector<std::string> seeds = {
      "once/1 open=12 began=400 store=5f0c9a",
      "once/1 open=0 began=- store=a b",
      "once/1 open=18446744073709551615 began=9223372036854775807 store=~",
      "once/1 open=007 began=0 store=x",
      "once/2 open=1 began=- store=x",
      ""};
  seeds.push_back(SeedWriter()
                      .Put<std::uint64_t>(7)
                      .Put<std::uint8_t>(1)
                      .Put<std::int64_t>(40)
                      .PutText("5f0c9a")
                      .seed());
  return seeds;
}

}  // namespace once::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  once::testing::FuzzInput input(data, size);
  once::testing::CheckText(input.rest());
  once::testing::CheckMark(input);
  return 0;
}
