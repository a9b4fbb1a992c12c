// What is kept of a loss.
#include "tests/campaign/sent_evidence.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/scratch_folder.h"

namespace once::campaign {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

ToldOutcome ToldOf(const std::string& name, std::int32_t partition, std::int64_t offset) {
  return {.name = name,
          .word = "stored",
          .key = "k",
          .partition = partition,
          .offset = offset,
          .sequence = 3,
          .life = 2,
          .time_us = 1'000'000,
          .id = "id-" + name};
}

StoredCopy CopyAt(const std::string& name, std::int32_t partition, std::int64_t offset) {
  return {.message = {.key = "k", .number = 1, .name = name},
          .partition = partition,
          .offset = offset,
          .id = "id-" + name,
          .time_ms = 17,
          .leader_epoch = 4};
}

std::string TextOf(const std::string& file) {
  std::ifstream text(file);
  return {std::istreambuf_iterator<char>(text), {}};
}

TEST(SentEvidence, OutcomesAreReadAsTheyWereWritten) {
  const ToldOutcome told = ToldOf("n1", 5, 77);
  EXPECT_EQ(DecodeOutcome(EncodeOutcome(told)), told);
  EXPECT_EQ(DecodeOutcome(EncodeOutcome({.name = "n2", .word = "unknown", .key = "k"}))->id, "");
  EXPECT_EQ(DecodeOutcome("n1 stored"), std::nullopt);
  EXPECT_EQ(DecodeOutcome("n1 stored k five 0 1 1 1 id"), std::nullopt);
  const testing::ScratchFolder folder;
  std::ofstream(folder.File("outcomes")) << EncodeOutcome(told) << "\n" << EncodeOutcome(told);
  EXPECT_THAT(ReadOutcomes(folder.File("outcomes")), ElementsAre(told, told));
  std::ofstream(folder.File("outcomes")) << "n1 stored\n";
  EXPECT_THROW(ReadOutcomes(folder.File("outcomes")), std::runtime_error);
}

TEST(SentEvidence, SaysWhatWasToldOfAMissingMessageAndWhatLiesThere) {
  const std::string text = DescribeMissing(
      {"n1", "n2", "n3", "n4"}, {ToldOf("n1", 0, 7), ToldOf("n2", 0, 8), ToldOf("n3", 0, -1)},
      {CopyAt("n9", 0, 7), CopyAt("n8", 1, 8)});
  EXPECT_THAT(text, HasSubstr("n1: told stored in life 2 at 1970-01-01T00:00:01"));
  EXPECT_THAT(text, HasSubstr("offset 7, where there is partition 0 offset 7 n9 key k number 1 id "
                              "id-n9 stamp  time_ms 17 leader_epoch 4\n"));
  EXPECT_THAT(text,
              HasSubstr("id id-n2, sequence 3, partition 0, offset 8, where there is nothing"));
  EXPECT_THAT(text, HasSubstr("n3: told stored"));
  EXPECT_THAT(text, HasSubstr("; without an offset\n"));
  EXPECT_THAT(text, HasSubstr("n4: nobody was told of it"));
}

TEST(SentEvidence, ShowsThePartitionsOfWhatIsMissing) {
  const std::vector<StoredCopy> copies = {CopyAt("n8", 0, 0), CopyAt("n9", 1, 0)};
  EXPECT_THAT(DescribeNeighbours({"n1"}, {ToldOf("n1", 1, 7)}, copies),
              AllOf(HasSubstr("n9"), Not(HasSubstr("n8"))));
  // A spooled one was told of no partition.
  EXPECT_THAT(DescribeNeighbours({"n1"}, {ToldOf("n1", -1, -1)}, copies),
              AllOf(HasSubstr("n9"), HasSubstr("n8")));
}

TEST(SentEvidence, KeepsAFolderWithEverything) {
  SentTruth truth{.topic = "t", .copies = {CopyAt("n9", 0, 0)}};
  truth.fates["n1"] = Fate::kStored;
  const std::vector<ToldOutcome> outcomes = {ToldOf("n1", 0, 7)};
  const SentJudgement judgement = JudgeSent(truth);
  const testing::ScratchFolder folder;
  std::ofstream(folder.File("outcomes")) << "the outcomes";
  std::filesystem::create_directory(folder.File("t-0"));
  std::ofstream(folder.File("t-0/segment")) << "bytes";
  const std::string kept = KeepEvidence({.truth = truth,
                                         .judgement = judgement,
                                         .outcomes = outcomes,
                                         .copied = {{folder.File("outcomes"), "outcomes"},
                                                    {folder.File("none"), "none"},
                                                    {folder.File("t-0"), "broker-0-t-0"}}});
  EXPECT_THAT(TextOf(kept + "/missing"), HasSubstr("n1: told stored"));
  EXPECT_THAT(TextOf(kept + "/records"), HasSubstr("n9"));
  EXPECT_EQ(TextOf(kept + "/outcomes"), "the outcomes");
  EXPECT_EQ(TextOf(kept + "/broker-0-t-0/segment"), "bytes");
  std::filesystem::remove_all(kept);
}

}  // namespace
}  // namespace once::campaign
