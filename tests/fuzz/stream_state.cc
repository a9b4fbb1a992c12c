// What a store keeps of a stream of numbered messages: nothing but what StreamState writes can be
// read, any history comes back as it was, and its ranges stay sorted, apart and within bounds.
#include "src/stream_state.h"

#include <algorithm>
#include <optional>

#include "tests/fuzz/fuzz_target.h"

namespace once::testing {
namespace {

constexpr std::size_t kStepsMax = 200;
constexpr std::size_t kRangesMax = 8;

void CheckBytes(FuzzInput& input) {
  const std::string_view head = input.TakeText();
  const std::string_view losses = input.rest();
  const std::optional<StreamState> state = StreamState::Decode(head, losses);
  if (!state) return;
  Require(state->EncodeHead() == head && state->EncodeLosses() == losses,
          "bytes that can be read are what their state is written as");
}

void CheckRanges(const StreamState& state) {
  Require(state.missing().size() <= kRangesMax, "ranges stay within their bound");
  std::uint64_t before = state.begin() - 1;
  for (const MissingRange& range : state.missing()) {
    Require(range.first > before && range.first <= range.last, "ranges are sorted and apart");
    Require(range.last <= state.high(), "what is beyond the stream is not missing");
    before = range.last;
  }
}

void CheckHistory(FuzzInput& input) {
  StreamState state(input.Take<std::uint64_t>() | 1);
  std::vector<StreamFinding> findings;
  for (std::size_t step = 0; step < kStepsMax && !input.is_empty(); ++step) {
    const std::size_t word = input.TakeBelow(7);
    const std::uint64_t number = std::max<std::uint64_t>(input.Take<std::uint64_t>(), 1);
    const std::uint64_t end = number + std::min<std::uint64_t>(UINT64_MAX - number, 5);
    const auto seen_ms = static_cast<std::int64_t>(step);
    if (word == 0) state.Expect(number, seen_ms, kRangesMax, findings);
    if (word == 1) state.BeginAtOne(seen_ms, kRangesMax, findings);
    if (word == 2) state.Void(number, end, kRangesMax, findings);
    if (word == 3) state.SkipTo(number, seen_ms, kRangesMax);
    if (word == 4) (void)state.Excuse(number, end, kRangesMax);
    if (word == 5) state.ReportSeenUntil(seen_ms - 3, findings);
    if (word == 6) (void)state.Receive(number, seen_ms, kRangesMax, findings);
    CheckRanges(state);
    Require(StreamState::Decode(state.EncodeHead(), state.EncodeLosses()) == state,
            "a state comes back as it was");
  }
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  StreamState state;
  std::vector<StreamFinding> findings;
  (void)state.Receive(7, 40, kRangesMax, findings);
  (void)state.Receive(3, 41, kRangesMax, findings);
  SeedWriter history;
  history.Put<std::uint64_t>(1);
  for (const std::uint64_t number :
       {std::uint64_t{1}, std::uint64_t{4}, std::uint64_t{9}, std::uint64_t{2}}) {
    history.Put<std::uint32_t>(6).Put(number);
  }
  history.Put<std::uint32_t>(2).Put<std::uint64_t>(5).Put<std::uint32_t>(5).Put<std::uint64_t>(1);
  return {SeedWriter().PutText(state.EncodeHead()).seed() + state.EncodeLosses(), history.seed(),
          SeedWriter().PutText(StreamState(9).EncodeHead()).seed()};
}

}  // namespace once::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  once::testing::FuzzInput bytes(data, size);
  once::testing::CheckBytes(bytes);
  once::testing::FuzzInput history(data, size);
  once::testing::CheckHistory(history);
  return 0;
}
