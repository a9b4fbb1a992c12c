// The judge of the sending side, shown what is right and each kind of wrong.
#include "tests/campaign/sent_judge.h"

#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "once/sequence.h"

namespace once::campaign {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr const char* kTopic = "orders";

std::string StampOf(std::uint64_t sequence, std::uint64_t epoch = 7) {
  return EncodeStamp(StreamName(kTopic, 0, {.producer = "shop", .epoch = epoch}), sequence, true);
}

StoredCopy CopyOf(std::int64_t number, std::int64_t offset, std::uint64_t sequence) {
  const std::string name = "n" + std::to_string(number);
  return {.message = {.key = "k", .number = number, .name = name},
          .offset = offset,
          .id = "id-" + name,
          .stamp = StampOf(sequence)};
}

// Three messages, the second of them twice.
SentTruth CleanTruth() {
  return {.topic = kTopic,
          .copies = {CopyOf(1, 0, 1), CopyOf(2, 1, 2), CopyOf(2, 2, 2), CopyOf(3, 3, 3)},
          .fates = {{"n1", Fate::kStored}, {"n2", Fate::kStored}, {"n3", Fate::kStored}},
          .is_complete = true};
}

TEST(JudgeSent, FindsNothingWhereEverythingIsThere) {
  const SentJudgement judgement = JudgeSent(CleanTruth());
  EXPECT_THAT(judgement.findings, IsEmpty());
  EXPECT_EQ(judgement.stored, 3);
  EXPECT_EQ(judgement.repeats, 1);
}

TEST(JudgeSent, FindsWhatIsMissing) {
  SentTruth truth = CleanTruth();
  truth.fates["n4"] = Fate::kStored;
  const SentJudgement judgement = JudgeSent(truth);
  EXPECT_EQ(judgement.missing, 1);
  EXPECT_THAT(judgement.missing_names, ::testing::ElementsAre("n4"));
  ASSERT_THAT(judgement.findings, SizeIs(1));
  EXPECT_THAT(judgement.findings[0], HasSubstr("n4 is not in the topic"));
  // Of many a few are findings, and all have their names.
  for (const char* name : {"n8", "n7", "n6", "n5"}) truth.fates[name] = Fate::kStored;
  EXPECT_THAT(JudgeSent(truth).findings, SizeIs(3));
  EXPECT_THAT(JudgeSent(truth).missing_names, ::testing::ElementsAre("n4", "n5", "n6", "n7", "n8"));
}

TEST(JudgeSent, FindsWhatNobodyHasCommitted) {
  SentTruth truth = CleanTruth();
  truth.fates.erase("n3");
  EXPECT_EQ(JudgeSent(truth).surplus, 1);
  truth.is_complete = false;
  EXPECT_EQ(JudgeSent(truth).surplus, 0);
  truth.fates["n3"] = Fate::kNotStored;
  EXPECT_EQ(JudgeSent(truth).surplus, 1);
  EXPECT_THAT(JudgeSent(truth).findings, SizeIs(1));
}

TEST(JudgeSent, FindsFirstCopiesOutOfOrder) {
  SentTruth truth = CleanTruth();
  std::swap(truth.copies[0].message, truth.copies[3].message);
  EXPECT_EQ(JudgeSent(truth).order_inversions, 2);
  // A later copy may be anywhere.
  truth = CleanTruth();
  truth.copies.push_back(CopyOf(1, 4, 1));
  EXPECT_EQ(JudgeSent(truth).order_inversions, 0);
}

TEST(JudgeSent, FindsAKeyInTwoPartitions) {
  SentTruth truth = CleanTruth();
  truth.copies[3].partition = 1;
  truth.copies[3].stamp =
      EncodeStamp(StreamName(kTopic, 1, {.producer = "shop", .epoch = 7}), 1, true);
  EXPECT_EQ(JudgeSent(truth).order_inversions, 1);
}

TEST(JudgeSent, FindsCopiesThatNobodyRecognises) {
  SentTruth truth = CleanTruth();
  truth.copies[2].id = "another";
  const SentJudgement judgement = JudgeSent(truth);
  EXPECT_EQ(judgement.unlike_ids, 1);
  EXPECT_THAT(judgement.findings, SizeIs(1));
}

TEST(JudgeSent, FindsAMessageWithTwoNumbers) {
  SentTruth truth = CleanTruth();
  truth.copies[2].stamp = StampOf(1, /*epoch=*/8);
  EXPECT_EQ(JudgeSent(truth).renumbered, 1);
  EXPECT_THAT(JudgeSent(truth).findings, SizeIs(1));
  truth.may_be_renumbered = true;
  EXPECT_EQ(JudgeSent(truth).renumbered, 1);
  EXPECT_THAT(JudgeSent(truth).findings, IsEmpty());
}

TEST(JudgeSent, FindsANumberOfTwoMessages) {
  SentTruth truth = CleanTruth();
  truth.copies[3].stamp = StampOf(2);
  EXPECT_EQ(JudgeSent(truth).numbers_reused, 1);
  EXPECT_THAT(JudgeSent(truth).findings, SizeIs(1));
}

TEST(JudgeSent, FindsAMessageWithoutANumber) {
  SentTruth truth = CleanTruth();
  truth.copies[3].stamp.clear();
  EXPECT_EQ(JudgeSent(truth).numbers_reused, 1);
}

TEST(JudgeSent, FindsNumbersThatAreLeftOut) {
  SentTruth truth = CleanTruth();
  truth.copies[3].stamp = StampOf(5);
  EXPECT_EQ(JudgeSent(truth).numbers_missing, 2);
  EXPECT_THAT(JudgeSent(truth).findings, SizeIs(1));
  truth.may_have_gaps = true;
  EXPECT_THAT(JudgeSent(truth).findings, IsEmpty());
}

TEST(JudgeSent, ReadsWhatIsWritten) {
  const SentMessage message{.key = "k-7", .number = 12, .name = "l1-w2-3"};
  EXPECT_EQ(DecodeSent(EncodeSent(message)), message);
  EXPECT_EQ(DecodeSent("k-7 twelve l1"), std::nullopt);
  EXPECT_EQ(DecodeSent(""), std::nullopt);
}

}  // namespace
}  // namespace once::campaign
