// The conformance tests of notes inside transactions.
#include "once/testing/store_conformance.h"

#include <gmock/gmock.h>

#include "src/testing/store_words.h"

namespace once::testing {

using ::testing::ElementsAre;
using namespace std::string_literals;

// Here, so that a linker that takes the suite out of an archive takes this file too.
std::string TransactionalStoreConformance::FindNote(StoreTransaction& transaction,
                                                    std::string_view key) {
  std::string value = "what was there before";
  const absl::Status found = transaction.FindNotes({&key, 1}, {&value, 1});
  EXPECT_TRUE(found.ok()) << found;
  return value;
}

void TransactionalStoreConformance::PutNote(StoreTransaction& transaction, std::string_view key,
                                            std::string_view value) {
  const Note note{.key = key, .value = value};
  const absl::Status put = transaction.PutNotes({&note, 1});
  EXPECT_TRUE(put.ok()) << put;
}

namespace {

TEST_P(TransactionalStoreConformance, ANoteIsFoundOnceItIsCommitted) {
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  EXPECT_EQ(FindNote(*transaction, "stream"), "");
  PutNote(*transaction, "stream", "1-7");
  EXPECT_EQ(FindNote(*transaction, "stream"), "1-7") << "its own writes";
  const PositionStamp next = Commit(std::move(transaction), Partition(0), stamp);
  const auto later = Begin(Partition(0), next);
  ASSERT_NE(later, nullptr);
  EXPECT_EQ(FindNote(*later, "stream"), "1-7");
}

TEST_P(TransactionalStoreConformance, OfManyNotesEachIsFoundInItsPlace) {
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  PutNote(*transaction, "a", "of a");
  PutNote(*transaction, "c", "of c");
  const PositionStamp next = Commit(std::move(transaction), Partition(0), stamp);
  const auto later = Begin(Partition(0), next);
  ASSERT_NE(later, nullptr);
  PutNote(*later, "d", "of d");
  const std::string_view keys[] = {"d", "b", "c", "a", "c"};
  std::string values[] = {"x", "x", "x", "x", "x"};
  ASSERT_TRUE(later->FindNotes(keys, values).ok());
  EXPECT_THAT(values, ElementsAre("of d", "", "of c", "of a", "of c"));
}

TEST_P(TransactionalStoreConformance, NotesAreAnyBytes) {
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  std::string every;
  for (int byte = 0; byte < 256; ++byte) every.push_back(static_cast<char>(byte));
  const std::string long_key(kNoteKeyBytesMax, '\xff');
  const std::string long_value(kNoteValueBytesMax, '\0');
  PutNote(*transaction, every, every);
  PutNote(*transaction, "\0"s, "of a zero");
  PutNote(*transaction, long_key, long_value);
  const PositionStamp next = Commit(std::move(transaction), Partition(0), stamp);
  const auto later = Begin(Partition(0), next);
  ASSERT_NE(later, nullptr);
  EXPECT_EQ(FindNote(*later, every), every);
  EXPECT_EQ(FindNote(*later, "\0"s), "of a zero");
  EXPECT_EQ(FindNote(*later, long_key), long_value);
}

TEST_P(TransactionalStoreConformance, TheLaterOfTwoWritesOfOneNoteCounts) {
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  const Note notes[] = {{"kept", "first"}, {"gone", "first"}, {"kept", "second"}, {"gone", ""}};
  ASSERT_TRUE(transaction->PutNotes(notes).ok());
  EXPECT_EQ(FindNote(*transaction, "kept"), "second");
  EXPECT_EQ(FindNote(*transaction, "gone"), "");
  const PositionStamp next = Commit(std::move(transaction), Partition(0), stamp);
  const auto later = Begin(Partition(0), next);
  ASSERT_NE(later, nullptr);
  EXPECT_EQ(FindNote(*later, "kept"), "second");
  EXPECT_EQ(FindNote(*later, "gone"), "");
}

TEST_P(TransactionalStoreConformance, AnEmptyNoteForgetsWhatWasCommitted) {
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  PutNote(*transaction, "stream", "1-7");
  PositionStamp next = Commit(std::move(transaction), Partition(0), stamp);
  transaction = Begin(Partition(0), next);
  ASSERT_NE(transaction, nullptr);
  PutNote(*transaction, "stream", "");
  EXPECT_EQ(FindNote(*transaction, "stream"), "");
  next = Commit(std::move(transaction), Partition(0), next);
  const auto later = Begin(Partition(0), next);
  ASSERT_NE(later, nullptr);
  EXPECT_EQ(FindNote(*later, "stream"), "");
}

TEST_P(TransactionalStoreConformance, NotesAreRolledBackWithTheirTransaction) {
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  PutNote(*transaction, "stream", "1-7");
  transaction->Rollback();
  const auto later = Begin(Partition(0), stamp);
  ASSERT_NE(later, nullptr);
  EXPECT_EQ(FindNote(*later, "stream"), "");
}

TEST_P(TransactionalStoreConformance, NotesSinceTheSavepointAreRolledBackToIt) {
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  PutNote(*transaction, "before", "1");
  PutNote(*transaction, "changed", "1");
  ASSERT_TRUE(transaction->SetSavepoint().ok());
  PutNote(*transaction, "changed", "2");
  PutNote(*transaction, "since", "2");
  ASSERT_TRUE(transaction->RollbackToSavepoint().ok());
  PutNote(*transaction, "after", "3");
  const PositionStamp next = Commit(std::move(transaction), Partition(0), stamp);
  const auto later = Begin(Partition(0), next);
  ASSERT_NE(later, nullptr);
  const std::string_view keys[] = {"before", "changed", "since", "after"};
  std::string values[4];
  ASSERT_TRUE(later->FindNotes(keys, values).ok());
  EXPECT_THAT(values, ElementsAre("1", "1", "", "3"));
}

TEST_P(TransactionalStoreConformance, ANoteBeyondItsBoundsIsRefused) {
  const std::string too_long(kNoteKeyBytesMax + 1, 'k');
  const std::string too_large(kNoteValueBytesMax + 1, 'v');
  const Note notes[] = {{"", "value"}, {too_long, "value"}, {"key", too_large}};
  const PositionStamp stamp = Take(Partition(0), 1);
  for (const Note& note : notes) {
    const auto transaction = Begin(Partition(0), stamp);
    ASSERT_NE(transaction, nullptr);
    EXPECT_EQ(transaction->PutNotes({&note, 1}).code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace once::testing
