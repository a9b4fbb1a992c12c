// Segments and staged writes: what a commit adds comes back as it was, or not at all.
#include "src/stores/id_log/segment_codec.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "src/id_hash.h"
#include "src/stores/id_log/checksum.h"
#include "src/stores/id_log/staged_writes.h"

namespace once::stores {
namespace {

using Ids = std::map<std::pair<std::string, std::string>, std::pair<Fingerprint, int>>;

Ids IdsOf(const Segment& segment) {
  Ids ids;
  segment.ForEach([&](const StoredId& stored) {
    const UnpackedId id = Unpack(stored.form, stored.id);
    ids[{std::string(stored.scope), std::string(id.id())}] = {stored.fingerprint, stored.attempt};
  });
  return ids;
}

std::string WriteSegment(const Ids& ids, std::uint64_t number) {
  SegmentWriter writer;
  for (const auto& [key, value] : ids) {
    writer.Add({.scope = key.first, .id = key.second}, value.first,
               static_cast<std::uint16_t>(value.second));
  }
  return writer.Finish(number, 77);
}

TEST(Segment, ComesBackAsItWasWritten) {
  std::mt19937_64 random(1);
  Ids ids;
  for (int i = 0; i < 2000; ++i) {
    const std::string scope = "scope" + std::to_string(random() % 3);
    std::string id = std::to_string(random());
    if (random() % 2 == 0) id = "order-" + id;
    const Fingerprint print{.high = random() % 2, .low = random() % 2};
    ids[{scope, id}] = {print, static_cast<int>(random() % 3)};
  }
  const std::string bytes = WriteSegment(ids, 5);
  const auto segment = Segment::Read(5, bytes);
  ASSERT_TRUE(segment.ok()) << segment.status();
  EXPECT_EQ(segment->number(), 5U);
  EXPECT_EQ(segment->log_time_ms(), 77);
  EXPECT_EQ(segment->size(), ids.size());
  EXPECT_EQ(IdsOf(*segment), ids);
}

TEST(Segment, CostsLittleMoreThanItsIds) {
  SegmentWriter writer;
  const std::string id = "00112233445566778899aabbccddee";
  for (int i = 16; i < 116; ++i) {
    writer.Add({.scope = "s", .id = id + std::to_string(i % 90 + 10)}, {.high = 1, .low = 2}, 1);
  }
  EXPECT_LT(writer.Finish(1, 0).size(), 100 * 32U + 64);
}

// Whatever byte is hit, whatever is cut off, whichever number it is found under.
TEST(Segment, IsReadWholeOrNotAtAll) {
  const std::string bytes = WriteSegment({{{"s", "a"}, {{1, 2}, 1}}, {{"t", "0011"}, {{}, 0}}}, 5);
  EXPECT_EQ(Segment::Read(6, bytes).status().code(), absl::StatusCode::kDataLoss);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    EXPECT_FALSE(Segment::Read(5, bytes.substr(0, at)).ok());
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = bytes;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      EXPECT_EQ(Segment::Read(5, changed).status().code(), absl::StatusCode::kDataLoss);
    }
  }
}

// A writer with a bug, of another version, or with ids that nobody would find again.
TEST(Segment, IsNotReadWhenItsChecksumIsRightAndItsContentIsNot) {
  const std::string bytes = WriteSegment({{{"s", "a"}, {{1, 2}, 1}}}, 5);
  const std::string content = bytes.substr(0, bytes.size() - kChecksumBytes);
  const auto read = [](std::string changed) {
    AppendChecksum(changed, 5);
    return Segment::Read(5, changed);
  };
  EXPECT_TRUE(read(content).ok());
  EXPECT_FALSE(read(content + '\0').ok());
  EXPECT_FALSE(read("").ok());
  std::string of_version_2 = content;
  of_version_2[0] = 2;
  EXPECT_FALSE(read(of_version_2).ok());
  // "a" as hex: 'a' has no packed form of its own other than raw.
  std::string of_form_7 = content;
  of_form_7[1 + 8 + 4 + 4 + 1 + 4 + 4] = 7;
  EXPECT_FALSE(read(of_form_7).ok());
}

constexpr IdKey kA = {.scope = "s", .id = "a"};
constexpr IdKey kB = {.scope = "t", .id = "a"};

TEST(StagedWrites, KnowTheNewestWriteAndForgetWhatCameAfterASavepoint) {
  StagedWrites staged;
  const auto newest = [&](const IdKey& key) { return staged.FindNewest(key, HashOf(key)); };
  EXPECT_EQ(newest(kA), 0U);
  staged.Add(kA, HashOf(kA), {.state = IdState::kRetrying}, "extra");
  EXPECT_EQ(newest(kA), 0U);
  EXPECT_EQ(newest(kB), 1U);
  staged.Add(kA, HashOf(kA), {.state = IdState::kCompleted}, "");
  staged.Add(kB, HashOf(kB), {.state = IdState::kDead}, "of b");
  EXPECT_EQ(newest(kA), 1U);
  EXPECT_EQ(staged.at(2).key, kB);
  EXPECT_EQ(staged.at(2).extra, "of b");
  staged.CutTo(1);
  EXPECT_EQ(newest(kA), 0U);
  EXPECT_EQ(newest(kB), staged.size());
  EXPECT_EQ(staged.at(0).extra, "extra");
  staged.Add(kB, HashOf(kB), {.state = IdState::kDiscarded}, "again");
  EXPECT_EQ(newest(kB), 1U);
  EXPECT_EQ(staged.at(1).extra, "again");
  EXPECT_EQ(staged.at(1).key, kB);
}

}  // namespace
}  // namespace once::stores
