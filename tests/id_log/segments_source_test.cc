// Segments read in the order of runs: every id once, as it was put last.
#include "src/stores/id_log/segments_source.h"

#include <gtest/gtest.h>

#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/id_log/fake_segment_storage.h"

namespace once::stores {
namespace {

using Key = std::pair<std::string, std::string>;  // scope, id

struct Value {
  Fingerprint fingerprint;
  int attempt = 0;

  friend bool operator==(const Value&, const Value&) = default;
};

// Ids of every form and many widths. Some differ in their first bytes, some in their last ones
// alone, and some in the first, then for long in nothing, and then again; some are met twice.
Key AnyKey(std::mt19937_64& random) {
  static const std::string kPrefixes[] = {"",
                                          "order-",
                                          "a-customer-with-a-long-name-",
                                          "b-customer-with-a-long-name-",
                                          "00112233445566778899aabbccddee",
                                          "6ba7b810-9dad-11d1-80b4-00c04fd4",
                                          "7ba7b810-9dad-11d1-80b4-00c04fd4"};
  static const std::string kScopes[] = {"a", "bills", "orders"};
  const std::string& scope = kScopes[random() % std::size(kScopes)];
  if (random() % 4 == 0) {
    // The order is that of unsigned bytes; what is missing behind an id counts for nothing.
    static const char kBytes[] = {'\0', '\1', '\x7f', '\x80', '\xff'};
    std::string id(1 + random() % 12, 'x');
    for (char& byte : id) byte = kBytes[random() % std::size(kBytes)];
    return {scope, id};
  }
  const std::string number = std::to_string(1000 + random() % 9000);
  return {scope, kPrefixes[random() % std::size(kPrefixes)] + number};
}

absl::Status WriteSegments(int segments, std::mt19937_64& random, FakeSegmentStorage& storage,
                           std::map<Key, Value>& newest) {
  for (int number = 1; number <= segments; ++number) {
    std::map<Key, Value> ids;
    for (int i = 0; i < 400; ++i) {
      const std::uint64_t print = random() % 3;  // 0: none
      ids[AnyKey(random)] = {{.high = print, .low = print}, static_cast<int>(random() % 4)};
    }
    SegmentWriter writer;
    for (const auto& [key, value] : ids) {
      writer.Add({.scope = key.first, .id = key.second}, value.fingerprint,
                 static_cast<std::uint16_t>(value.attempt));
      newest[key] = value;
    }
    const auto segment = static_cast<std::uint64_t>(number);
    absl::Status appended = storage.Append(segment, writer.Finish(segment, 5));
    if (!appended.ok()) return appended;
  }
  return storage.Commit(true);
}

TEST(SegmentsSource, GivesEveryIdOnceAsItWasPutLastAndInTheOrderOfRuns) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    FakeSegmentStorage storage;
    std::map<Key, Value> newest;
    ASSERT_TRUE(WriteSegments(12, random, storage, newest).ok());
    const auto source = SegmentsSource::Load(1, 12, storage);
    ASSERT_TRUE(source.ok()) << source.status();
    std::map<Key, Value> found;
    std::optional<StoredId> former;
    absl::StatusOr<bool> has_more = (*source)->Next();
    for (; has_more.ok() && *has_more; has_more = (*source)->Next()) {
      const StoredId& stored = (*source)->current();
      if (former) {
        EXPECT_TRUE(CompareIds(*former, stored) < 0);
      }
      former = stored;
      const UnpackedId id = Unpack(stored.form, stored.id);
      found[{std::string(stored.scope), std::string(id.id())}] = {stored.fingerprint,
                                                                  stored.attempt};
    }
    ASSERT_TRUE(has_more.ok()) << has_more.status();
    EXPECT_EQ(found, newest);
  }
}

TEST(SegmentsSource, SaysWhichSegmentIsMissing) {
  std::mt19937_64 random(3);
  FakeSegmentStorage storage;
  std::map<Key, Value> newest;
  ASSERT_TRUE(WriteSegments(3, random, storage, newest).ok());
  storage.disk().segments.erase(2);
  const auto source = SegmentsSource::Load(1, 3, storage);
  EXPECT_TRUE(absl::IsDataLoss(source.status()));
  EXPECT_NE(source.status().message().find("segment 2 is missing"), absl::string_view::npos);
}

}  // namespace
}  // namespace once::stores
