// The conformance tests of the outbox.
#include "once/testing/store_conformance.h"

#include <limits>
#include <utility>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "src/testing/store_words.h"

namespace once::testing {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using namespace std::string_literals;

// Here, so that a linker that takes the suite out of an archive takes this file too.
std::vector<PendingRow> TransactionalStoreConformance::Pending(std::size_t rows_max) {
  auto rows = outbox().FindPending(rows_max);
  EXPECT_TRUE(rows.ok()) << rows.status();
  return rows.ok() ? *std::move(rows) : std::vector<PendingRow>();
}

namespace {

TEST_P(TransactionalStoreConformance, OutboxRowsComeInCommitOrder) {
  PositionStamp stamp = Take(Partition(0), 1);
  for (int i = 0; i < 3; ++i) {
    auto transaction = Begin(Partition(0), stamp);
    ASSERT_NE(transaction, nullptr);
    // Offsets run backwards: commit order counts, not theirs.
    const OutboxRow rows[] = {Letter(Partition(0), 100 - 2 * i, absl::StrCat(2 * i)),
                              Letter(Partition(0), 99 - 2 * i, absl::StrCat(2 * i + 1))};
    ASSERT_TRUE(transaction->PutOutgoing(rows).ok());
    stamp = Commit(std::move(transaction), Partition(0), stamp);
  }
  const std::vector<PendingRow> rows = Pending();
  EXPECT_THAT(Values(rows), ElementsAre("0", "1", "2", "3", "4", "5"));
  for (std::size_t i = 1; i < rows.size(); ++i) EXPECT_LT(rows[i - 1].sequence, rows[i].sequence);
  EXPECT_THAT(Values(Pending(2)), ElementsAre("0", "1"));
  EXPECT_THAT(Pending(0), IsEmpty());
  EXPECT_EQ(outbox().CountPending().value(), 6u);
}

TEST_P(TransactionalStoreConformance, OutgoingMessagesComeBackAsTheyWere) {
  std::string binary;
  for (int byte = 255; byte >= 0; --byte) binary.push_back(static_cast<char>(byte));
  const OutgoingMessage messages[] = {
      {.topic = "t",
       .partition = std::nullopt,
       .key = std::nullopt,
       .value = std::nullopt,
       .headers = {}},
      {.topic = "t", .partition = 0, .key = "", .value = "", .headers = {}},
      {.topic = "t", .partition = -1, .key = binary, .value = binary, .headers = {}},
      {.topic = "t",
       .partition = std::numeric_limits<std::int32_t>::max(),
       .key = "\0"s,
       .value = "\0"s,
       .headers = {{"", std::nullopt}}},
      {.topic = "t",
       .partition = std::nullopt,
       .key = "k",
       .value = std::string(1'000'000, 'v'),
       .headers = {{"name", "value"},
                   {"name", "again"},
                   {"null", std::nullopt},
                   {"empty", ""},
                   {"bytes", binary},
                   {"\xff\0x"s, "odd name"}}},
  };
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  std::int64_t offset = 0;
  for (const OutgoingMessage& message : messages) {
    PutOutgoing(*transaction, {.origin = {Partition(0), offset++}, .message = message});
  }
  Commit(std::move(transaction), Partition(0), stamp);
  const std::vector<PendingRow> rows = Pending();
  ASSERT_THAT(rows, SizeIs(std::size(messages)));
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_TRUE(rows[i].message == messages[i]) << i;
}

TEST_P(TransactionalStoreConformance, OneDeliveryHasOneOutboxRowAlsoInLaterTransactions) {
  PositionStamp stamp = Take(Partition(0), 1);
  for (int round = 0; round < 2; ++round) {
    auto transaction = Begin(Partition(0), stamp);
    ASSERT_NE(transaction, nullptr);
    PutOutgoing(*transaction, Letter(Partition(0), 5, absl::StrCat("first of round ", round)));
    PutOutgoing(*transaction, Letter(Partition(0), 5, absl::StrCat("second of round ", round)));
    stamp = Commit(std::move(transaction), Partition(0), stamp);
  }
  EXPECT_THAT(Values(Pending()), ElementsAre("first of round 0"));
}

TEST_P(TransactionalStoreConformance, OriginsDifferByClusterGroupTopicPartitionOffsetAndScope) {
  const OutboxOrigin origins[] = {
      {{"c", "g", {"t", 0}}, 0},         {{"C", "g", {"t", 0}}, 0},
      {{"c", "G", {"t", 0}}, 0},         {{"c", "g", {"T", 0}}, 0},
      {{"c", "g", {"t", 1}}, 0},         {{"c", "g", {"t", 0}}, 1},
      {{"cg", "", {"t", 0}}, 0},         {{"c", "g", {"t", 0}}, 0, -1, "s"},
      {{"c", "g", {"t", 0}}, 0, -1, "S"}};
  const auto transaction = Begin(std::span<const PositionLock>());
  ASSERT_NE(transaction, nullptr);
  for (const OutboxOrigin& origin : origins) {
    PutOutgoing(*transaction, {.origin = origin, .message = Letter({}, 0, "v").message});
  }
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  EXPECT_EQ(outbox().CountPending().value(), std::size(origins));
}

TEST_P(TransactionalStoreConformance, APublishedRowIsGoneButItsOriginStaysTaken) {
  PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  PutOutgoing(*transaction, Letter(Partition(0), 5, "letter"));
  stamp = Commit(std::move(transaction), Partition(0), stamp);

  const std::int64_t sequence = Pending().at(0).sequence;
  for (int i = 0; i < 2; ++i) {
    const absl::Status marked = outbox().MarkPublished({&sequence, 1});
    EXPECT_TRUE(marked.ok()) << marked;
    EXPECT_THAT(Pending(), IsEmpty());
    EXPECT_EQ(outbox().CountPending().value(), 0u);
  }
  transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  PutOutgoing(*transaction, Letter(Partition(0), 5, "replayed"));
  PutOutgoing(*transaction, Letter(Partition(0), 6, "other"));
  Commit(std::move(transaction), Partition(0), stamp);
  ASSERT_THAT(Values(Pending()), ElementsAre("other"));
  EXPECT_GT(Pending()[0].sequence, sequence);
}

TEST_P(TransactionalStoreConformance, OnlyTheMarkedRowsArePublished) {
  const auto transaction = Begin(std::span<const PositionLock>());
  ASSERT_NE(transaction, nullptr);
  for (int i = 0; i < 5; ++i) {
    PutOutgoing(*transaction, Letter(Partition(0), i, absl::StrCat(i)));
  }
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  const std::vector<PendingRow> rows = Pending();
  ASSERT_THAT(rows, SizeIs(5));
  const std::int64_t marked[] = {rows[3].sequence, rows[0].sequence, rows[4].sequence + 1000};
  ASSERT_TRUE(outbox().MarkPublished(marked).ok());
  EXPECT_THAT(Values(Pending()), ElementsAre("1", "2", "4"));
}

TEST_P(TransactionalStoreConformance, AParkedRowIsOutOfTheWayAndItsOriginStaysTaken) {
  PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  PutOutgoing(*transaction, Letter(Partition(0), 1, "too large"));
  PutOutgoing(*transaction, Letter(Partition(0), 2, "fine"));
  stamp = Commit(std::move(transaction), Partition(0), stamp);

  const std::int64_t sequence = Pending().at(0).sequence;
  for (int i = 0; i < 2; ++i) {
    const absl::Status parked = outbox().Park(sequence, absl::InvalidArgumentError("too large"));
    EXPECT_TRUE(parked.ok()) << parked;
    EXPECT_THAT(Values(Pending()), ElementsAre("fine"));
    EXPECT_EQ(outbox().CountPending().value(), 1u);
  }
  EXPECT_TRUE(outbox().Park(sequence + 1000, absl::InvalidArgumentError("no such row")).ok());
  transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  PutOutgoing(*transaction, Letter(Partition(0), 1, "replayed"));
  Commit(std::move(transaction), Partition(0), stamp);
  EXPECT_THAT(Values(Pending()), ElementsAre("fine"));
}

TEST_P(TransactionalStoreConformance, TheRelayReadsCommittedRowsWhileATransactionIsOpen) {
  auto transaction = Begin(std::span<const PositionLock>());
  ASSERT_NE(transaction, nullptr);
  PutOutgoing(*transaction, Letter(Partition(0), 1, "committed"));
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  transaction = Begin(std::span<const PositionLock>());
  ASSERT_NE(transaction, nullptr);
  PutOutgoing(*transaction, Letter(Partition(0), 2, "open"));
  EXPECT_THAT(Values(Pending()), ElementsAre("committed"));
  EXPECT_EQ(outbox().CountPending().value(), 1u);
}

}  // namespace
}  // namespace once::testing
