// SettledNumbers over a store, against a set of what was settled: through restarts, rollbacks,
// forgotten streams, and more gaps than there is room for.
#include "src/settled_numbers.h"

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
#include "once/consumer.h"
#include "once/memory/store.h"
#include "once/sequence.h"

namespace once {
namespace {

const PartitionKey kKey = {
    .cluster = "c", .group = "g", .partition = {.topic = "orders", .partition = 3}};

using Sent = std::pair<std::size_t, std::uint64_t>;  // producer and number

// A partition whose messages are settled in batches, and the ids that are in charge beside numbers.
class SettledLog {
 public:
  explicit SettledLog(std::size_t streams_max) : streams_max_(streams_max) { Restart(); }

  void Restart() {
    numbers_ = std::make_unique<SettledNumbers>(kKey, DedupBy::kSequence, streams_max_);
  }

  // What was handled of the batch: each for the first time, or a test has failed.
  void Settle(const std::vector<Sent>& batch, bool commits) {
    new_ = 0;
    std::vector<std::vector<OwnedHeader>> headers;
    for (const auto& [producer, number] : batch) {
      const std::string name = StreamName(kKey.partition.topic, kKey.partition.partition,
                                          {.producer = "shop", .epoch = producer});
      headers.push_back({{std::string(kSequenceHeader), EncodeStamp(name, number, true)}});
    }
    numbers_->Begin();
    std::vector<SettledNumbers::Number> read;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto number = numbers_->Read(Message({.topic = kKey.partition.topic,
                                                  .partition = kKey.partition.partition,
                                                  .offset = static_cast<std::int64_t>(i),
                                                  .header_reader = OwnedHeaderReader(),
                                                  .headers_object = &headers[i]}));
      ASSERT_TRUE(number.has_value());
      read.push_back(*number);
    }
    absl::StatusOr<BeginResult> begun = store_->transactions()->Begin({});
    ASSERT_TRUE(begun.ok());
    StoreTransaction& transaction = *begun->transaction;
    ASSERT_TRUE(numbers_->Load(transaction, position_).ok());
    std::set<Sent> handled;
    std::set<Sent> by_id;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const bool is_known = handled_.contains(batch[i]) || handled.contains(batch[i]);
      const Standing standing = numbers_->Ask(read[i]);
      if (standing == Standing::kSettled) {
        ASSERT_TRUE(is_known) << "a message would be lost";
        continue;
      }
      new_ += static_cast<std::size_t>(standing == Standing::kNew);
      const bool has_id = by_id_.contains(batch[i]) || by_id.contains(batch[i]);
      const bool is_copy = standing == Standing::kUnclear && has_id;
      ASSERT_EQ(is_copy, is_known) << "a message would be handled twice";
      handled.insert(batch[i]);
      const bool can = numbers_->CanSettle(read[i]);
      ASSERT_TRUE(can || standing == Standing::kUnclear) << "there is no place for its id";
      ASSERT_EQ(numbers_->Settle(read[i], standing == Standing::kUnclear), can);
      if (!can) by_id.insert(batch[i]);
    }
    std::vector<OwnedNote> notes;
    numbers_->Stage(position_, notes);
    for (const OwnedNote& note : notes) most_bytes_ = std::max(most_bytes_, note.value.size());
    ASSERT_TRUE(PutNotes(transaction, notes).ok());
    if (!commits) {
      transaction.Rollback();
      return;
    }
    ASSERT_TRUE(transaction.Commit(Durability::kNothing).ok());
    numbers_->Adopt();
    handled_.merge(handled);
    by_id_.merge(by_id);
  }

  std::size_t handled() const { return handled_.size(); }
  std::size_t by_id() const { return by_id_.size(); }
  // Of the last batch: told by their numbers alone.
  std::size_t new_by_number() const { return new_; }
  std::size_t most_bytes() const { return most_bytes_; }

 private:
  const std::size_t streams_max_;
  std::shared_ptr<memory::Store> store_ = memory::OpenStore();
  std::unique_ptr<SettledNumbers> numbers_;
  const std::int64_t position_ = 7;
  std::set<Sent> handled_;
  std::set<Sent> by_id_;
  std::size_t most_bytes_ = 0;
  std::size_t new_ = 0;
};

std::vector<Sent> RunOf(std::uint64_t first, std::size_t count) {
  std::vector<Sent> run;
  for (std::size_t i = 0; i < count; ++i) run.push_back({1, first + i});
  return run;
}

TEST(SettledNumbersTest, IsExactWhateverComes) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    SettledLog log(2 + seed % 3);
    std::map<std::size_t, std::uint64_t> last;
    for (int batch = 0; batch < 200; ++batch) {
      if (random() % 10 == 0) log.Restart();
      std::vector<Sent> messages;
      for (auto n = random() % 12 + 1; n > 0; --n) {
        const std::size_t producer = random() % 5;
        const bool is_again = random() % 3 == 0 && last[producer] > 0;
        if (!is_again && random() % 5 == 0) last[producer] += random() % 4;
        const std::uint64_t number = is_again ? 1 + random() % last[producer] : ++last[producer];
        messages.push_back({producer, number});
      }
      log.Settle(messages, random() % 7 != 0);
      if (HasFatalFailure()) return;
    }
    EXPECT_EQ(log.by_id(), 0U);
  }
}

TEST(SettledNumbersTest, BeyondTheBoundIdsAreInCharge) {
  SettledLog log(100);
  std::vector<Sent> scattered;
  for (std::uint64_t i = 1; i <= 2 * kUnsettledRangesMax; ++i) scattered.push_back({1, 3 * i});
  for (std::size_t at = 0; at < scattered.size(); at += 500) {
    const auto from = scattered.begin() + static_cast<std::ptrdiff_t>(at);
    const auto to = scattered.size() - at > 500 ? from + 500 : scattered.end();
    log.Settle({from, to}, true);
    if (HasFatalFailure()) return;
  }
  EXPECT_EQ(log.handled(), scattered.size());
  EXPECT_GT(log.by_id(), kUnsettledRangesMax / 2);
  EXPECT_LT(log.most_bytes(), kNoteValueBytesMax / 4);

  // What is late makes room again; nothing is handled twice, whoever is in charge of it.
  std::mt19937 random(1);
  for (int batch = 0; batch < 100; ++batch) {
    std::vector<Sent> messages;
    for (int n = 0; n < 200; ++n) messages.push_back({1, 1 + random() % (7 * kUnsettledRangesMax)});
    if (batch % 10 == 0) log.Restart();
    log.Settle(messages, batch % 4 != 0);
    if (HasFatalFailure()) return;
  }
}

TEST(SettledNumbersTest, AFullBatchOfAStreamIsToldByNumbers) {
  const std::size_t full = ConsumerLimits().batch_messages_max;
  ASSERT_GT(full, kUnsettledRangesMax);
  SettledLog log(100);
  log.Settle(RunOf(1, 1), true);
  log.Settle(RunOf(2, full), true);
  EXPECT_EQ(log.new_by_number(), full);
}

// Settle() finds room for what was said to be new, up to the last range.
TEST(SettledNumbersTest, UpToTheBoundEachRunNeedsRoomForOneRange) {
  SettledLog log(100);
  log.Settle(RunOf(1, 1), true);
  std::uint64_t next = 3;
  const auto gaps_of = [&next](std::size_t gaps, std::size_t each) {
    std::vector<Sent> sent;
    for (std::size_t i = 0; i < gaps; ++i, next += each + 1) {
      for (const Sent& message : RunOf(next, each)) sent.push_back(message);
    }
    return sent;
  };
  log.Settle(gaps_of(kUnsettledRangesMax - 11, 2), true);
  EXPECT_EQ(log.new_by_number(), 2 * (kUnsettledRangesMax - 11));
  log.Settle(gaps_of(10, 600), true);
  EXPECT_EQ(log.new_by_number(), 6000U);
  log.Settle(gaps_of(1, 5), true);
  EXPECT_EQ(log.new_by_number(), 0U) << "none would be left for the message behind";
  EXPECT_EQ(log.by_id(), 0U);
  log.Settle(gaps_of(1, 5), true);
  EXPECT_EQ(log.by_id(), 5U);
}

// What stands where nobody knows of numbers: the row is elsewhere than the note says.
TEST(SettledNumbersTest, OfStreamsFromBeforeSomebodyElsesWorkIdsAreAsked) {
  const std::shared_ptr<memory::Store> store = memory::OpenStore();
  const auto standing_of = [&](std::int64_t before, std::int64_t after, std::uint64_t settled,
                               std::uint64_t asked) {
    SettledNumbers numbers(kKey, DedupBy::kSequence, 10);
    const std::string name = StreamName(kKey.partition.topic, kKey.partition.partition,
                                        {.producer = "shop", .epoch = 1});
    std::vector<std::vector<OwnedHeader>> headers = {
        {{std::string(kSequenceHeader), EncodeStamp(name, settled, true)}},
        {{std::string(kSequenceHeader), EncodeStamp(name, asked, true)}}};
    numbers.Begin();
    std::vector<SettledNumbers::Number> read;
    for (auto& each : headers) {
      read.push_back(*numbers.Read(Message({.topic = kKey.partition.topic,
                                            .partition = kKey.partition.partition,
                                            .offset = 0,
                                            .header_reader = OwnedHeaderReader(),
                                            .headers_object = &each})));
    }
    auto begun = store->transactions()->Begin({});
    EXPECT_TRUE(numbers.Load(*begun->transaction, before).ok());
    EXPECT_TRUE(numbers.Settle(read[0], true));
    const Standing standing = numbers.Ask(read[1]);
    std::vector<OwnedNote> notes;
    numbers.Stage(after, notes);
    EXPECT_TRUE(PutNotes(*begun->transaction, notes).ok());
    EXPECT_TRUE(begun->transaction->Commit(Durability::kNothing).ok());
    return standing;
  };
  EXPECT_EQ(standing_of(0, 5, 1, 2), Standing::kNew);
  EXPECT_EQ(standing_of(5, 6, 2, 3), Standing::kNew) << "nobody else was there";
  EXPECT_EQ(standing_of(9, 10, 3, 4), Standing::kUnclear) << "the row was moved by somebody";
  EXPECT_EQ(standing_of(10, 11, 4, 5), Standing::kUnclear) << "the stream is from before that";
}

TEST(SettledNumbersTest, AJumpOfAnySizeIsOneRange) {
  SettledLog log(100);
  log.Settle({{1, 1}, {1, std::uint64_t{1} << 63}, {1, ~std::uint64_t{0}}}, true);
  log.Settle({{1, 2}, {1, ~std::uint64_t{0} - 1}, {1, ~std::uint64_t{0}}, {1, 1}}, true);
  EXPECT_EQ(log.handled(), 5U);
  EXPECT_LT(log.most_bytes(), 100U);
}

}  // namespace
}  // namespace once
