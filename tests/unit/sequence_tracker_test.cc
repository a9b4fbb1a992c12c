// SequenceTracker over a store: whatever was dropped is named, and nothing else, through restarts,
// rollbacks, forgotten streams and late arrivals.
#include "src/sequence_tracker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/memory/store.h"
#include "src/judge_losses.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const PartitionKey kKey = {
    .cluster = "c", .group = "g", .partition = {.topic = "orders", .partition = 3}};

struct Sent {
  std::size_t producer = 0;
  std::uint64_t number = 0;
};

std::string ProducerOf(std::size_t producer) { return absl::StrCat("shop-", producer); }

// A partition whose messages are read in batches, by one tracker after the other.
class TrackedLog {
 public:
  explicit TrackedLog(std::size_t streams_max) {
    options_.streams_max = streams_max;
    Restart();
  }

  void Restart() { tracker_ = std::make_unique<SequenceTracker>(kKey, options_, true); }

  // Reads from `first` on, before `end`; false: rolled back.
  bool ReadBatch(const std::vector<Sent>& log, std::size_t first, std::size_t end, bool commits,
                 std::vector<LossEvent>& events) {
    std::vector<std::vector<OwnedHeader>> headers;
    for (std::size_t i = first; i < end; ++i) {
      const std::string name =
          StreamName(kKey.partition.topic, kKey.partition.partition,
                     {.producer = ProducerOf(log[i].producer), .epoch = log[i].producer});
      headers.push_back({{std::string(kSequenceHeader), EncodeStamp(name, log[i].number, true)}});
    }
    tracker_->Begin();
    for (std::size_t i = first; i < end; ++i) {
      tracker_->Read(Message({.topic = kKey.partition.topic,
                              .partition = kKey.partition.partition,
                              .offset = static_cast<std::int64_t>(i),
                              .header_reader = OwnedHeaderReader(),
                              .headers_object = &headers[i - first]}));
    }
    return Finish({.position_before = static_cast<std::int64_t>(first),
                   .position_after = static_cast<std::int64_t>(end)},
                  commits, events);
  }

  // What has been missing until now is reported.
  bool Judge(std::size_t position, std::vector<LossEvent>& events) {
    tracker_->Begin();
    tracker_->Judge(0);
    const auto at = static_cast<std::int64_t>(position);
    return Finish({.position_before = at, .position_after = at}, true, events);
  }

  // Per producer, what the store says is missing.
  std::map<std::string, std::vector<std::uint64_t>> Missing() const {
    std::map<std::string, std::vector<std::uint64_t>> missing;
    const auto notes = store_->operations()->ListNotes(
        {.prefix = LossNotePrefix(LossNoteKind::kLosses), .notes_max = 100'000});
    EXPECT_TRUE(notes.ok());
    for (const StoredNote& note : *notes) {
      const std::optional<LossNoteName> name = ParseLossNoteKey(note.key);
      const std::optional<StreamLosses> losses = DecodeLosses(note.value);
      if (!name || !losses || name->partition != kKey) return {{"damaged", {}}};
      for (const MissingRange& range : losses->missing) {
        for (std::uint64_t number = range.first; number <= range.last; ++number) {
          missing[std::string(UnpackStream(name->stream)->producer)].push_back(number);
        }
      }
    }
    return missing;
  }

  // Of the keys and values of all notes of losses.
  std::size_t CountNoteBytes() const {
    const auto notes = store_->operations()->ListNotes(
        {.prefix = LossNotePrefix(LossNoteKind::kLosses), .notes_max = 100'000});
    EXPECT_TRUE(notes.ok());
    std::size_t bytes = 0;
    for (const StoredNote& note : *notes) bytes += note.key.size() + note.value.size();
    return bytes;
  }

  SequenceTracker& tracker() { return *tracker_; }

 private:
  bool Finish(const TrackedStep& step, bool commits, std::vector<LossEvent>& events) {
    absl::StatusOr<BeginResult> begun = store_->transactions()->Begin({});
    if (!begun.ok()) return false;
    std::vector<OwnedNote> notes;
    // Twice, as where a pass fails.
    EXPECT_TRUE(tracker_->Stage(begun->transaction.get(), step, notes).ok());
    notes.clear();
    EXPECT_TRUE(tracker_->Stage(begun->transaction.get(), step, notes).ok());
    EXPECT_TRUE(PutNotes(*begun->transaction, notes).ok());
    if (!commits) {
      begun->transaction->Rollback();
      return false;
    }
    EXPECT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());
    tracker_->Adopt(events);
    return true;
  }

  LossOptions options_;
  std::shared_ptr<memory::Store> store_ = memory::OpenStore();
  std::unique_ptr<SequenceTracker> tracker_;
};

TEST(SequenceTracker, WhateverWasDroppedIsNamedAndNothingElse) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    const std::size_t producers = 1 + random() % 12;
    std::vector<Sent> log;
    std::vector<std::uint64_t> sent(producers);
    std::map<std::string, std::vector<std::uint64_t>> dropped;
    std::vector<Sent> late;
    for (int i = 0; i < 400; ++i) {
      const std::size_t producer = random() % producers;
      const std::uint64_t number = ++sent[producer];
      const auto fate = random() % 20;
      if (fate == 0) {
        dropped[ProducerOf(producer)].push_back(number);
      } else if (fate == 1) {
        late.push_back({producer, number});
      } else {
        log.push_back({producer, number});
      }
      if (!late.empty() && random() % 10 == 0) {
        log.push_back(late.back());
        late.pop_back();
      }
    }
    log.insert(log.end(), late.begin(), late.end());
    // The last of each arrives, or a dropped tail could not be told.
    for (std::size_t producer = 0; producer < producers; ++producer) {
      log.push_back({producer, ++sent[producer]});
    }

    TrackedLog tracked(2 + random() % 8);
    std::vector<LossEvent> events;
    for (std::size_t position = 0; position < log.size();) {
      const std::size_t end = std::min(log.size(), position + 1 + random() % 30);
      // What waits for a retry is read again, with what is behind it.
      const std::size_t settled = position + 1 + random() % (end - position);
      if (tracked.ReadBatch(log, position, end, random() % 4 != 0, events)) position = settled;
      if (random() % 5 == 0) tracked.Restart();
      // The partition goes on at its row, whatever the tracker has seen beyond it.
      if (position > 0 && random() % 7 == 0) (void)tracked.Judge(position, events);
    }
    tracked.Restart();
    ASSERT_TRUE(tracked.Judge(log.size(), events));
    ASSERT_EQ(tracked.Missing(), dropped) << "seed " << seed;
    std::uint64_t suspected = 0;
    std::uint64_t recovered = 0;
    std::uint64_t lost = 0;
    for (const LossEvent& event : events) {
      (event.kind == LossKind::kSuspected ? suspected : recovered) += event.last - event.first + 1;
    }
    for (const auto& [producer, numbers] : dropped) lost += numbers.size();
    EXPECT_EQ(suspected - recovered, lost) << "seed " << seed;
    EXPECT_EQ(tracked.tracker().missing(), lost) << "seed " << seed;
  }
}

TEST(SequenceTracker, BeyondTheBoundAStreamIsReportedWithoutBeingWaitedFor) {
  constexpr std::size_t kMore = 5;
  std::vector<Sent> log;
  for (std::size_t i = 0; i < SequenceTracker::kWaitingStreamsMax + kMore; ++i) {
    log.push_back({.producer = i, .number = 2});
  }
  TrackedLog tracked(100'000);
  std::vector<LossEvent> events;
  ASSERT_TRUE(tracked.ReadBatch(log, 0, log.size(), true, events));

  EXPECT_EQ(events.size(), kMore);
}

// One that counted what is between would not come back.
TEST(SequenceTracker, AJumpOfAnySizeIsOneRangeInOneNote) {
  constexpr std::uint64_t kFar = std::uint64_t{1} << 63U;
  TrackedLog tracked(100);
  std::vector<LossEvent> events;
  const std::vector<Sent> log = {{.number = 1}, {.number = kFar}, {.number = kFar + kFar / 2}};
  ASSERT_TRUE(tracked.ReadBatch(log, 0, 2, true, events));
  ASSERT_TRUE(tracked.ReadBatch(log, 2, 3, true, events));
  EXPECT_LT(tracked.CountNoteBytes(), 200U);
  // So does one that begins anew with what the store has.
  tracked.Restart();
  ASSERT_TRUE(tracked.ReadBatch({{.number = 2}}, 0, 1, true, events));
  EXPECT_THAT(events, IsEmpty());
  ASSERT_TRUE(tracked.Judge(1, events));
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].first, 3U);
  EXPECT_EQ(events[0].last, kFar - 1);
  EXPECT_EQ(events[1].first, kFar + 1);
  EXPECT_EQ(events[1].last, kFar + kFar / 2 - 1);
  EXPECT_EQ(tracked.tracker().missing(), kFar - 3 + kFar / 2 - 1);
}

TEST(SequenceTracker, MarksBeyondTheBoundWaitForThoseThatCanBeJudgedAndAreDroppedIfNoneCan) {
  TrackedLog tracked(100);
  SequenceTracker& tracker = tracked.tracker();
  const auto hold = [&](std::size_t i, std::int64_t position) {
    const std::string name = PackStream({.producer = ProducerOf(i), .epoch = 1});
    return tracker.Hold(
        {.stream = name, .mark = StreamMark{.last = 1, .last_offset = 5, .first_offset = 5}},
        position);
  };
  for (std::size_t i = 0; i < SequenceTracker::kHeldStreamsMax; ++i) ASSERT_TRUE(hold(i, 0));
  EXPECT_FALSE(tracker.has_judgeable(5));
  EXPECT_TRUE(tracker.has_judgeable(6));

  EXPECT_FALSE(hold(SequenceTracker::kHeldStreamsMax, 6));
  EXPECT_FALSE(tracker.has_dropped());
  EXPECT_TRUE(hold(SequenceTracker::kHeldStreamsMax, 5));
  EXPECT_TRUE(tracker.has_dropped());
  EXPECT_EQ(tracker.held(), SequenceTracker::kHeldStreamsMax);
  tracker.ForgetDropped();
  EXPECT_FALSE(tracker.has_dropped());
}

TEST(SequenceTracker, KeysAndValuesOfNotesAreReadAsTheyWereWritten) {
  for (const LossNoteKind kind : {LossNoteKind::kHead, LossNoteKind::kLosses}) {
    const std::string key = LossNoteKey(kind, kKey) + PackStream({.producer = "p", .epoch = 3});
    const std::optional<LossNoteName> name = ParseLossNoteKey(key);
    ASSERT_TRUE(name.has_value());
    EXPECT_EQ(name->kind, kind);
    EXPECT_EQ(name->partition, kKey);
    EXPECT_EQ(UnpackStream(name->stream), (ProducerEpoch{.producer = "p", .epoch = 3}));
    EXPECT_FALSE(ParseLossNoteKey(LossNoteKey(kind, kKey)).has_value()) << "without a stream";
  }
  const PartitionProgress progress{.began = 4, .position = 9, .era = 2, .missing = 77};
  EXPECT_EQ(DecodeProgress(EncodeProgress(progress)), progress);
  EXPECT_EQ(DecodeProgress("nonsense"), std::nullopt);
  EXPECT_THAT(*DecodeNames(EncodeNames({"a", "", "bc"})), ElementsAre("a", "", "bc"));
  EXPECT_THAT(*DecodeNames(""), IsEmpty());
  EXPECT_EQ(DecodeNames("nonsense"), std::nullopt);
}

}  // namespace
}  // namespace once
