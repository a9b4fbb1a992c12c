// The conformance tests of ids inside transactions.
#include "once/testing/store_conformance.h"

#include <limits>
#include <utility>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "src/testing/store_words.h"

namespace once::testing {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using namespace std::string_literals;

// Here, so that a linker that takes the suite out of an archive takes this file too.
IdRecord TransactionalStoreConformance::FindCommitted(const IdKey& key) {
  const auto transaction = Begin(std::span<const PositionLock>());
  return transaction ? Find(*transaction, key) : IdRecord{};
}

namespace {

TEST_P(TransactionalStoreConformance, AnUnknownIdIsAbsentWhateverTheRecordHeldBefore) {
  const PositionStamp stamp = Take(Partition(0), 1);
  const auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  const IdKey key{"scope", "id"};
  IdRecord record{.state = IdState::kDead,
                  .fingerprint = {1, 2},
                  .attempt = 3,
                  .first_failed_at = absl::UnixEpoch(),
                  .not_before = absl::UnixEpoch()};
  ASSERT_TRUE(transaction->FindIds({&key, 1}, {&record, 1}).ok());
  EXPECT_EQ(record, IdRecord{});
}

TEST_P(TransactionalStoreConformance, ATransactionSeesItsOwnIds) {
  const PositionStamp stamp = Take(Partition(0), 1);
  const auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"scope", "id"}, kCompletedRecord);
  EXPECT_EQ(Find(*transaction, {"scope", "id"}), kCompletedRecord);
}

TEST_P(TransactionalStoreConformance, KeysMayRepeatInOneLookup) {
  const PositionStamp stamp = Take(Partition(0), 1);
  const auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"scope", "known"}, kCompletedRecord);
  const IdKey keys[] = {
      {"scope", "known"}, {"scope", "unknown"}, {"scope", "known"}, {"scope", "unknown"}};
  IdRecord records[4];
  ASSERT_TRUE(transaction->FindIds(keys, records).ok());
  EXPECT_THAT(records, ElementsAre(kCompletedRecord, IdRecord{}, kCompletedRecord, IdRecord{}));
}

TEST_P(TransactionalStoreConformance, TheLaterOfTwoWritesOfOneIdCounts) {
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  const IdWrite writes[] = {{{"scope", "id"}, {.state = IdState::kRetrying, .attempt = 3}},
                            {{"scope", "id"}, kCompletedRecord}};
  ASSERT_TRUE(transaction->PutIds(writes).ok());
  EXPECT_EQ(Find(*transaction, {"scope", "id"}), kCompletedRecord);
  Commit(std::move(transaction), Partition(0), stamp);
  EXPECT_EQ(FindCommitted({"scope", "id"}), kCompletedRecord);
}

TEST_P(TransactionalStoreConformance, WritingAbsentForgetsAnId) {
  PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"scope", "id"}, {.state = IdState::kRetrying, .attempt = 3});
  stamp = Commit(std::move(transaction), Partition(0), stamp);
  transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"scope", "id"}, IdRecord{});
  EXPECT_EQ(Find(*transaction, {"scope", "id"}), IdRecord{});
  Commit(std::move(transaction), Partition(0), stamp);
  EXPECT_EQ(FindCommitted({"scope", "id"}), IdRecord{});
}

TEST_P(TransactionalStoreConformance, IdsKeepTheirBytes) {
  std::string all_bytes;
  for (int byte = 0; byte < 256; ++byte) all_bytes.push_back(static_cast<char>(byte));
  std::vector<std::string> ids = {"a",
                                  "\0"s,
                                  "\0\0"s,
                                  "a\0"s,
                                  "a\0b"s,
                                  "A",
                                  "1",
                                  "01",
                                  "1.0",
                                  "\xff",
                                  "é",
                                  "e\xcc\x81",
                                  " a",
                                  "a ",
                                  "%",
                                  "'",
                                  "\"",
                                  std::string(kMessageIdBytesMax, 'x'),
                                  std::string(kMessageIdBytesMax, '\0'),
                                  std::string(kMessageIdBytesMax - 1, 'x')};
  for (std::size_t at = 0; at < all_bytes.size(); at += 64) ids.push_back(all_bytes.substr(at, 64));

  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  int attempt = 0;
  for (const std::string& id : ids) {
    const IdRecord found = Find(*transaction, {"scope", id});
    EXPECT_EQ(found, IdRecord{}) << ::testing::PrintToString(id);
    Put(*transaction, {"scope", id}, {.state = IdState::kRetrying, .attempt = ++attempt});
  }
  Commit(std::move(transaction), Partition(0), stamp);
  attempt = 0;
  for (const std::string& id : ids) EXPECT_EQ(FindCommitted({"scope", id}).attempt, ++attempt);
}

TEST_P(TransactionalStoreConformance, ScopeAndIdAreNeverConfused) {
  const std::pair<std::string, std::string> keys[] = {{"a", "bc"},
                                                      {"ab", "c"},
                                                      {"abc", "c"},
                                                      {"", "abc"},
                                                      {"a\0"s, "bc"},
                                                      {"a", "\0bc"s},
                                                      {"A", "bc"},
                                                      {"bc", "a"},
                                                      {"a:b", "c"},
                                                      {"a", "b:c"},
                                                      {"\xff", "bc"},
                                                      {"\xfe", "bc"},
                                                      {GroupTopicScope("group", "orders"), "bc"},
                                                      {GroupTopicScope("group", "payments"), "bc"},
                                                      {std::string(300, 's'), "bc"},
                                                      {std::string(301, 's'), "bc"}};
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  int attempt = 0;
  for (const auto& [scope, id] : keys) {
    EXPECT_EQ(Find(*transaction, {scope, id}), IdRecord{});
    Put(*transaction, {scope, id}, {.state = IdState::kRetrying, .attempt = ++attempt});
  }
  Commit(std::move(transaction), Partition(0), stamp);
  attempt = 0;
  for (const auto& [scope, id] : keys) EXPECT_EQ(FindCommitted({scope, id}).attempt, ++attempt);
}

TEST_P(TransactionalStoreConformance, EveryFieldOfAnIdRecordComesBackAsItWas) {
  const std::vector<IdRecord> records = RecordsOfEveryKind();
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  for (std::size_t i = 0; i < records.size(); ++i) {
    Put(*transaction, {"scope", absl::StrCat("id", i)}, records[i]);
  }
  Commit(std::move(transaction), Partition(0), stamp);
  for (std::size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(FindCommitted({"scope", absl::StrCat("id", i)}), records[i]) << "record " << i;
  }
}

TEST_P(TransactionalStoreConformance, AThousandIdsGoInAndOutInOneCall) {
  std::vector<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.push_back(absl::StrCat("id-", i));
  std::vector<IdWrite> writes;
  std::vector<IdKey> keys;
  for (int i = 0; i < 1000; ++i) {
    const IdKey key{i % 2 == 0 ? "even" : "odd", ids[static_cast<std::size_t>(i)]};
    keys.push_back(key);
    writes.push_back({key, {.state = IdState::kRetrying, .attempt = i + 1}});
  }
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  ASSERT_TRUE(transaction->PutIds(writes).ok());
  const PositionStamp after = Commit(std::move(transaction), Partition(0), stamp);

  transaction = Begin(Partition(0), after);
  ASSERT_NE(transaction, nullptr);
  std::vector<IdRecord> records(keys.size());
  ASSERT_TRUE(transaction->FindIds(keys, records).ok());
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(records[static_cast<std::size_t>(i)].attempt, i + 1);
}

TEST_P(TransactionalStoreConformance, CallsWithNothingToDoAreFine) {
  const auto transaction = Begin(std::span<const PositionLock>());
  ASSERT_NE(transaction, nullptr);
  EXPECT_TRUE(transaction->FindIds({}, {}).ok());
  EXPECT_TRUE(transaction->PutIds({}).ok());
  EXPECT_TRUE(transaction->PutOutgoing({}).ok());
  EXPECT_TRUE(transaction->SetPositions({}).ok());
  EXPECT_TRUE(transaction->Commit(Durability::kMachine).ok());
  EXPECT_THAT(transactions().ReadPositions({}).value(), IsEmpty());
  EXPECT_TRUE(outbox().MarkPublished({}).ok());
}

}  // namespace
}  // namespace once::testing
