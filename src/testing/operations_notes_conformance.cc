// The conformance tests of notes as they are listed for operators.
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>

#include "src/testing/operations_bench.h"

namespace once::testing {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using namespace std::string_literals;

void LinkNoteChecks() {}

namespace {

void CommitNotes(TransactionalStore& store, const std::vector<StoredNote>& notes) {
  const auto begun = store.Begin({});
  ASSERT_TRUE(begun.ok()) << begun.status();
  for (const StoredNote& note : notes) {
    const Note put{.key = note.key, .value = note.value};
    ASSERT_TRUE(begun->transaction->PutNotes({&put, 1}).ok());
  }
  ASSERT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());
}

std::vector<std::string> KeysOf(const absl::StatusOr<std::vector<StoredNote>>& notes) {
  EXPECT_TRUE(notes.ok()) << notes.status();
  std::vector<std::string> keys;
  for (const StoredNote& note : notes.value_or(std::vector<StoredNote>())) keys.push_back(note.key);
  return keys;
}

OPERATIONS_CHECK(NotesAreListedByPrefixInTheOrderOfTheirKeys) {
  EXPECT_THAT(operations().ListNotes({}).value(), IsEmpty());
  CommitNotes(transactions(), {{"s/b", "2"}, {"t/a", "4"}, {"s/\xff", "3"}, {"s/a", "1"}});
  EXPECT_THAT(
      operations().ListNotes({.prefix = "s/"}).value(),
      ElementsAre(StoredNote{"s/a", "1"}, StoredNote{"s/b", "2"}, StoredNote{"s/\xff", "3"}));
  EXPECT_THAT(KeysOf(operations().ListNotes({.prefix = "s/b"})), ElementsAre("s/b"));
  EXPECT_THAT(KeysOf(operations().ListNotes({.prefix = "u"})), IsEmpty());
  EXPECT_THAT(KeysOf(operations().ListNotes({})), ElementsAre("s/a", "s/b", "s/\xff", "t/a"));
}

OPERATIONS_CHECK(NotesUnderAPrefixOfTheGreatestBytesAreListed) {
  CommitNotes(transactions(), {{"\xff\xff", "1"}, {"\xff\xff\xff", "2"}, {"\xfe", "3"}});
  EXPECT_THAT(KeysOf(operations().ListNotes({.prefix = "\xff\xff"})),
              ElementsAre("\xff\xff", "\xff\xff\xff"));
}

OPERATIONS_CHECK(NotesAreListedInPages) {
  std::vector<StoredNote> notes;
  for (char letter = 'a'; letter <= 'z'; ++letter) notes.push_back({"n"s + letter, "value"});
  CommitNotes(transactions(), notes);
  std::vector<StoredNote> listed;
  NoteQuery query{.prefix = "n", .notes_max = 10};
  for (int page = 0; page < 4; ++page) {
    const auto some = operations().ListNotes(query);
    ASSERT_TRUE(some.ok()) << some.status();
    if (some->empty()) break;
    EXPECT_LE(some->size(), 10U);
    query.after = some->back().key;
    listed.insert(listed.end(), some->begin(), some->end());
  }
  EXPECT_EQ(listed, notes);
}

OPERATIONS_CHECK(ANoteThatIsForgottenIsNotListed) {
  CommitNotes(transactions(), {{"a", "1"}, {"b", "2"}});
  CommitNotes(transactions(), {{"a", ""}});
  EXPECT_THAT(KeysOf(operations().ListNotes({})), ElementsAre("b"));
}

}  // namespace
}  // namespace once::testing
