// Segments as bytes: nothing but what the writer writes can be read, and every id comes back as it
// was put.
#include "src/stores/id_log/segment_codec.h"

#include <map>
#include <utility>

#include "src/stores/id_log/checksum.h"
#include "tests/fuzz/fuzz_target.h"

namespace once::testing {
namespace {

using stores::Segment;
using stores::SegmentWriter;
using stores::StoredId;
using stores::UnpackedId;

constexpr std::uint64_t kNumber = 7;
constexpr std::size_t kIdsMax = 64;

void CheckBytes(std::string_view bytes) {
  const auto segment = Segment::Read(kNumber, bytes);
  if (!segment.ok()) return;
  SegmentWriter writer;
  segment->ForEach([&](const StoredId& stored) {
    const UnpackedId id = stores::Unpack(stored.form, stored.id);
    writer.Add({.scope = stored.scope, .id = id.id()}, stored.fingerprint, stored.attempt);
  });
  Require(writer.size() == segment->size() && segment->size() > 0, "a segment has its ids");
  Require(writer.Finish(kNumber, segment->log_time_ms()) == bytes,
          "a segment that can be read is what its ids are written as");
}

void CheckValues(FuzzInput& input) {
  std::map<std::pair<std::string, std::string>, std::pair<Fingerprint, std::uint16_t>> ids;
  while (!input.is_empty() && ids.size() < kIdsMax) {
    std::string id(input.TakeText().substr(0, kMessageIdBytesMax));
    if (id.empty()) id = "x";
    const std::string scope(1, static_cast<char>('a' + input.TakeBelow(3)));
    const Fingerprint print{.high = input.Take<std::uint8_t>(), .low = 0};
    ids[{scope, id}] = {print, input.Take<std::uint16_t>()};
  }
  if (ids.empty()) return;
  SegmentWriter writer;
  for (const auto& [key, value] : ids) {
    writer.Add({.scope = key.first, .id = key.second}, value.first, value.second);
  }
  const std::string bytes = writer.Finish(kNumber, 5);
  const auto segment = Segment::Read(kNumber, bytes);
  Require(segment.ok() && segment->size() == ids.size(), "a segment that was written can be read");
  segment->ForEach([&](const StoredId& stored) {
    const UnpackedId id = stores::Unpack(stored.form, stored.id);
    const auto known = ids.find({std::string(stored.scope), std::string(id.id())});
    Require(known != ids.end() && known->second.first == stored.fingerprint &&
                known->second.second == stored.attempt,
            "an id comes back as it was put");
  });
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  SegmentWriter writer;
  writer.Add({.scope = "orders", .id = "00112233445566778899aabbccddeeff"}, {1, 2}, 1);
  writer.Add({.scope = "orders", .id = "FF112233445566778899aabbccddeeff"}, {3, 4}, 1);
  writer.Add({.scope = "bills", .id = "order-17"}, {}, 300);
  std::string segment = writer.Finish(kNumber, 5);
  segment.resize(segment.size() - stores::kChecksumBytes);
  SeedWriter values;
  values.PutText("id").Put<std::uint32_t>(1).Put<std::uint8_t>(1).Put<std::uint16_t>(1);
  values.PutText("1234").Put<std::uint32_t>(2).Put<std::uint8_t>(0).Put<std::uint16_t>(9);
  return {segment, values.seed()};
}

}  // namespace once::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  once::testing::FuzzInput input(data, size);
  once::testing::CheckBytes(input.rest());
  // Nobody guesses a checksum: what comes behind it would never be tried.
  std::string with_checksum(input.rest());
  once::stores::AppendChecksum(with_checksum, once::testing::kNumber);
  once::testing::CheckBytes(with_checksum);
  once::testing::CheckValues(input);
  return 0;
}
