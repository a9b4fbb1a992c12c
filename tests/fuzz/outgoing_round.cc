// Rounds of outgoing messages as bytes: what can be read comes back as it was read, and every round
// comes back as it was.
#include "src/stores/outgoing_codec.h"
#include "tests/fuzz/fuzz_target.h"

namespace once::testing {
namespace {

constexpr std::size_t kRowsMax = 64;

void CheckBytes(std::string_view bytes) {
  const auto round = stores::DecodeRound(bytes);
  if (round.ok()) {
    const auto same = stores::DecodeRound(stores::EncodeRound(*round));
    Require(same.ok() && same->epoch == round->epoch && same->placements == round->placements,
            "a round that can be read is read again as it was");
  }
  const auto row = stores::DecodeOutgoingRow(1, bytes);
  Require(!row.ok() || stores::EncodeOutgoingRow(row->message, row->put_at) == bytes,
          "a row that can be read is what it is written as");
  const auto stream = stores::DecodeStream(bytes);
  Require(!stream.ok() || stores::EncodeStream(*stream) == bytes,
          "a stream that can be read is what it is written as");
}

void CheckValues(FuzzInput& input) {
  OutgoingRound round{.epoch = input.Take<std::uint64_t>()};
  std::int64_t number = 0;
  std::uint64_t next[4] = {1, 1, 1, 1};
  while (!input.is_empty() && round.placements.size() < kRowsMax) {
    const auto choice = input.Take<std::uint8_t>();
    number += 1 + choice / 16;
    std::uint64_t& sequence = next[choice % 4];
    if (choice % 16 == 5) sequence += input.Take<std::uint16_t>();
    round.placements.push_back({.number = number, .partition = choice % 2, .sequence = sequence++});
  }
  const auto same = stores::DecodeRound(stores::EncodeRound(round));
  Require(same.ok() && same->placements == round.placements, "a round comes back as it was");
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  return {stores::EncodeRound({.epoch = 7,
                               .placements = {{.number = 1, .partition = 0, .sequence = 1},
                                              {.number = 2, .partition = 1, .sequence = 1},
                                              {.number = 9, .partition = 0, .sequence = 2}}}),
          stores::EncodeOutgoingRow({.topic = "t", .key = "k"}, absl::UnixEpoch()),
          stores::EncodeStream({.epoch = 1, .topic = "t", .partition = 2, .last = 3})};
}

}  // namespace once::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  once::testing::FuzzInput input(data, size);
  once::testing::CheckBytes(input.rest());
  once::testing::CheckValues(input);
  return 0;
}
