// The parts of sealed ids: filter, pages, runs, and which of them are merged.
#include "src/stores/id_log/sorted_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <string>

#include "src/stores/bytes.h"
#include "src/stores/id_log/checksum.h"
#include "src/stores/id_log/id_source.h"
#include "tests/id_log/fake_segment_storage.h"

namespace once::stores {
namespace {

TEST(BlockFilter, KnowsAllThatWereAddedAndFewOthers) {
  constexpr int kIds = 50'000;
  BlockFilter filter(kIds, 12);
  const auto hash = [](int i) {
    const std::string id = std::to_string(i);
    return StableHashOf({.scope = "s", .id = id});
  };
  for (int i = 0; i < kIds; ++i) filter.Add(hash(i));
  const auto read = BlockFilter::FromBytes(filter.bytes());
  ASSERT_TRUE(read);
  int wrong = 0;
  for (int i = 0; i < kIds; ++i) {
    ASSERT_TRUE(read->MayContain(hash(i)));
    wrong += read->MayContain(hash(kIds + i)) ? 1 : 0;
  }
  EXPECT_LT(wrong, kIds / 100);
  EXPECT_LE(filter.bytes().size(), kIds * 12 / 8 + 32);
}

// Stored for ever: another value would make every filter on every disk lie.
TEST(BlockFilter, HashesAsItAlwaysDid) {
  EXPECT_EQ(StableHashOf({.scope = "scope", .id = "id"}),
            StableHashOf({.scope = "scope", .id = "id"}));
  EXPECT_NE(StableHashOf({.scope = "t", .id = "id"}), StableHashOf({.scope = "s", .id = "id"}));
}

std::vector<RunEntry> EntriesOf(const RunPage& page) {
  std::vector<RunEntry> entries;
  page.ForEach([&](const RunEntry& entry) { entries.push_back(entry); });
  return entries;
}

TEST(RunPage, GivesBackWhatWasAddedAndIsNeverLargerThanItMay) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 200; ++round) {
    const std::size_t bytes_max = kPageBytesMin + random() % 1000;
    std::map<std::string, RunEntry> ids;  // by their order
    std::vector<std::string> texts;
    for (int i = 0; i < 300; ++i) texts.push_back(std::to_string(random() % 2000));
    std::vector<RunEntry> entries;
    std::vector<PackedId> packed;
    packed.reserve(texts.size());
    for (const std::string& text : texts) {
      packed.push_back(Pack(text));
      entries.push_back({.key = {.scope = static_cast<std::uint32_t>(random() % 2),
                                 .form = packed.back().form,
                                 .id = packed.back().bytes()},
                         .attempt = static_cast<std::uint16_t>(random() % 20 == 0 ? 2 : 1)});
      if (random() % 3 == 0) entries.back().fingerprint = {.high = random(), .low = 1};
    }
    std::sort(entries.begin(), entries.end(),
              [](const RunEntry& a, const RunEntry& b) { return a.key < b.key; });
    entries.erase(std::unique(entries.begin(), entries.end(),
                              [](const auto& a, const auto& b) { return a.key == b.key; }),
                  entries.end());
    PageWriter writer(bytes_max);
    std::size_t added = 0;
    while (added < entries.size() && writer.Add(entries[added])) ++added;
    ASSERT_GT(added, 0U);
    const std::string bytes = writer.Finish({.run = 1, .page = 2});
    ASSERT_LE(bytes.size(), bytes_max);
    const auto page = RunPage::Read({.run = 1, .page = 2}, bytes);
    ASSERT_TRUE(page.ok()) << page.status();
    ASSERT_EQ(page->size(), added);
    EXPECT_FALSE(RunPage::Read({.run = 2, .page = 1}, bytes).ok());
    const std::vector<RunEntry> read = EntriesOf(*page);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const auto found = page->Find(entries[i].key);
      ASSERT_EQ(found.has_value(), i < added);
      if (!found) continue;
      EXPECT_EQ(found->fingerprint, entries[i].fingerprint);
      EXPECT_EQ(found->attempt, entries[i].attempt);
      EXPECT_EQ(read[i].key, entries[i].key);
      EXPECT_EQ(page->at(i).key, entries[i].key);
    }
  }
}

TEST(RunPage, IsNotReadWhenItIsOutOfOrderWhateverItsChecksumSays) {
  const auto page_of = [](std::string_view first, std::string_view second) {
    std::string bytes;
    AppendInt(bytes, std::uint8_t{1});
    AppendInt(bytes, std::uint32_t{0});
    AppendInt(bytes, static_cast<std::uint8_t>(IdForm::kRaw));
    AppendInt(bytes, std::uint8_t{1});
    AppendInt(bytes, std::uint8_t{2});
    AppendInt(bytes, std::uint16_t{2});
    AppendInt(bytes, std::uint16_t{1});
    bytes.append(first).append(second);
    AppendChecksum(bytes, PageAddress{}.seed());
    return RunPage::Read({}, bytes).status();
  };
  EXPECT_TRUE(page_of("x", "y").ok());
  EXPECT_TRUE(absl::IsDataLoss(page_of("y", "x")));
  EXPECT_TRUE(absl::IsDataLoss(page_of("x", "x")));
}

TEST(SortedRun, FindsWhatItHoldsOnThePageThatHoldsIt) {
  std::mt19937_64 random(5);
  std::map<std::pair<std::string, std::string>, IdRecord> known;
  for (int i = 0; i < 3000; ++i) {
    const std::string scope = i % 7 == 0 ? "b" : i % 3 == 0 ? "a" : "c";
    known[{scope, std::to_string(random() % 100'000)}] = {
        .state = IdState::kCompleted,
        .fingerprint = {.high = 1, .low = random() % 2},
        .attempt = static_cast<int>(random() % 3)};
  }
  std::vector<PackedId> packed;
  std::vector<StoredId> ids;
  packed.reserve(known.size());
  for (const auto& [key, record] : known) {
    packed.push_back(Pack(key.second));
    ids.push_back({.scope = key.first,
                   .form = packed.back().form,
                   .id = packed.back().bytes(),
                   .fingerprint = record.fingerprint,
                   .attempt = static_cast<std::uint16_t>(record.attempt)});
  }
  std::sort(ids.begin(), ids.end(),
            [](const StoredId& a, const StoredId& b) { return CompareIds(a, b) < 0; });
  RunWriter writer(4, ids.size(), 512, 10);
  for (const StoredId& id : ids) writer.Add(id);
  writer.Finish();
  FakeSegmentStorage storage;
  ASSERT_TRUE(storage.WritePages(4, 0, writer.TakePages()).ok());
  RunInfo info = writer.info();
  info.first_segment = info.last_segment = 1;
  const auto run = SortedRun::Open(info, storage);
  ASSERT_TRUE(run.ok()) << run.status();
  std::vector<std::pair<std::string, std::string>> asked;
  for (const auto& [key, record] : known) asked.push_back(key);
  for (int i = 0; i < 3000; ++i) asked.emplace_back("a", std::to_string(100'000 + i));
  asked.emplace_back("none", "1");
  std::vector<IdKey> keys;
  std::vector<std::uint64_t> hashes;
  for (const auto& [scope, id] : asked) {
    keys.push_back({.scope = scope, .id = id});
    hashes.push_back(StableHashOf(keys.back()));
  }
  std::vector<IdRecord> records(keys.size());
  IdQuery query{.keys = keys, .hashes = hashes, .records = records};
  query.pending.resize(keys.size());
  std::iota(query.pending.begin(), query.pending.end(), 0);
  const std::uint64_t calls = storage.calls();
  ASSERT_TRUE((*run)->Find(hashes, storage, query).ok());
  EXPECT_LE(storage.calls() - calls, info.id_pages);
  EXPECT_EQ(query.pending.size(), 3001U);
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const auto expected = known.find(asked[i]);
    EXPECT_EQ(records[i], expected == known.end() ? IdRecord() : expected->second);
  }
}

std::vector<RunInfo> RunsOf(const std::vector<std::uint64_t>& sizes) {
  std::vector<RunInfo> runs;
  for (const std::uint64_t ids : sizes) {
    const auto time = static_cast<std::int64_t>(runs.size());
    runs.push_back({.log_time_min_ms = time, .log_time_max_ms = time, .ids = ids});
  }
  return runs;
}

TEST(ChooseMerge, TakesFourNeighboursOfSimilarSizeFromTheYoungestOn) {
  const MergeLimits limits{.runs_max = 8};
  EXPECT_EQ(ChooseMerge(RunsOf({}), limits), std::nullopt);
  EXPECT_EQ(ChooseMerge(RunsOf({10, 10, 10}), limits), std::nullopt);
  EXPECT_EQ(ChooseMerge(RunsOf({10, 10, 10, 10}), limits), (RunRange{.first = 0, .size = 4}));
  EXPECT_EQ(ChooseMerge(RunsOf({1000, 10, 10, 10}), limits), std::nullopt);
  EXPECT_EQ(ChooseMerge(RunsOf({1000, 10, 10, 10, 10}), limits), (RunRange{.first = 1, .size = 4}));
  EXPECT_EQ(ChooseMerge(RunsOf({40, 40, 40, 10, 10, 10, 10}), limits),
            (RunRange{.first = 0, .size = 7}));
}

TEST(ChooseMerge, NeverLeavesMoreRunsThanThereMayBe) {
  const MergeLimits limits{.runs_max = 3};
  EXPECT_EQ(ChooseMerge(RunsOf({1000, 100, 10}), limits), std::nullopt);
  EXPECT_EQ(ChooseMerge(RunsOf({1000, 100, 10, 1}), limits), (RunRange{.first = 2, .size = 2}));
  EXPECT_EQ(ChooseMerge(RunsOf({1, 1000, 100'000, 1}), limits), (RunRange{.first = 0, .size = 2}));
}

TEST(ChooseMerge, KeepsRunsApartThatWouldExpireTooLate) {
  MergeLimits limits{.runs_max = 8, .span_max_ms = 2};
  EXPECT_EQ(ChooseMerge(RunsOf({10, 10, 10, 10, 10}), limits), std::nullopt);
  limits.span_max_ms = 3;
  EXPECT_EQ(ChooseMerge(RunsOf({10, 10, 10, 10, 10}), limits), (RunRange{.first = 1, .size = 4}));
}

// However much is sealed, each id is written a few times only.
TEST(ChooseMerge, WritesAnIdALogarithmsNumberOfTimes) {
  std::vector<RunInfo> runs;
  std::uint64_t written = 0;
  constexpr std::uint64_t kSeals = 1000;
  for (std::uint64_t seal = 0; seal < kSeals; ++seal) {
    runs.push_back({.ids = 1});
    ++written;
    while (const auto range = ChooseMerge(runs, {.runs_max = 8})) {
      const auto first = runs.begin() + static_cast<std::ptrdiff_t>(range->first);
      const auto end = first + static_cast<std::ptrdiff_t>(range->size);
      for (auto run = first + 1; run != end; ++run) first->ids += run->ids;
      runs.erase(first + 1, end);
      written += first->ids;
    }
    ASSERT_LE(runs.size(), 8U);
  }
  EXPECT_LT(written, 8 * kSeals);
}

TEST(Manifest, ComesBackAsItWasOrNotAtAll) {
  Manifest manifest{.first_segment = 30, .next_run = 7};
  manifest.runs = {{.number = 3, .first_segment = 1, .last_segment = 9, .log_time_min_ms = -1},
                   {.number = 6, .first_segment = 10, .last_segment = 29, .log_time_max_ms = 5}};
  for (RunInfo& run : manifest.runs)
    run.ids = run.id_pages = run.index_pages = run.filter_pages = 1;
  const std::string bytes = EncodeManifest(manifest);
  const auto read = DecodeManifest(bytes);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(*read, manifest);
  manifest.runs[1].first_segment = 11;  // a gap
  EXPECT_TRUE(absl::IsDataLoss(DecodeManifest(EncodeManifest(manifest)).status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeManifest("").status()));
}

}  // namespace
}  // namespace once::stores
