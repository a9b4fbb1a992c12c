// StagedIds: what the store said, overlaid with what the transaction is going to write.
#include "src/staged_ids.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace once {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr IdKey kA = {.scope = "s", .id = "a"};
constexpr IdKey kB = {.scope = "s", .id = "b"};

IdRecord In(IdState state, int attempt = 0) { return {.state = state, .attempt = attempt}; }

StagedIds WithKeys(const std::vector<IdKey>& keys, const std::vector<IdRecord>& records) {
  StagedIds ids;
  ids.Reset(keys, records);
  return ids;
}

TEST(StagedIds, FindsWhatTheStoreSaidAndWritesNoneOfIt) {
  const StagedIds ids = WithKeys({kA, kB}, {In(IdState::kCompleted), In(IdState::kRetrying, 2)});
  EXPECT_EQ(ids.Find(ids.NumberOf(0)).state, IdState::kCompleted);
  EXPECT_EQ(ids.Find(ids.NumberOf(1)).attempt, 2);
  EXPECT_THAT(ids.Writes(), IsEmpty());
}

TEST(StagedIds, WhatWasPutCoversWhatTheStoreSaid) {
  StagedIds ids = WithKeys({kA}, {In(IdState::kRetrying, 1)});
  ids.Put(ids.NumberOf(0), In(IdState::kCompleted, 2));
  EXPECT_EQ(ids.Find(ids.NumberOf(0)).state, IdState::kCompleted);
  ASSERT_THAT(ids.Writes(), SizeIs(1));
  EXPECT_EQ(ids.Writes()[0].record, In(IdState::kCompleted, 2));
}

TEST(StagedIds, WritesTheFinalRecordOnceInTheOrderOfTheFirstPut) {
  StagedIds ids = WithKeys({kA, kB}, {{}, {}});
  ids.Put(ids.NumberOf(1), In(IdState::kRetrying, 1));
  ids.Put(ids.NumberOf(0), In(IdState::kCompleted));
  ids.Put(ids.NumberOf(1), In(IdState::kDead, 2));
  const std::vector<IdWrite> writes = ids.Writes();
  ASSERT_THAT(writes, SizeIs(2));
  EXPECT_EQ(writes[0].key, kB);
  EXPECT_EQ(writes[0].record, In(IdState::kDead, 2));
  EXPECT_EQ(writes[1].key, kA);
}

TEST(StagedIds, TellsScopesApart) {
  StagedIds ids =
      WithKeys({kA, {.scope = "other", .id = "a"}, {.scope = "sa", .id = ""}}, {{}, {}, {}});
  ids.Put(ids.NumberOf(0), In(IdState::kCompleted));
  EXPECT_EQ(ids.Find(ids.NumberOf(1)).state, IdState::kAbsent);
  EXPECT_EQ(ids.Find(ids.NumberOf(2)).state, IdState::kAbsent);
}

TEST(StagedIds, AResetLeavesNothingOfTheLastTransactionBehind) {
  StagedIds ids = WithKeys({kA}, {{}});
  ids.Put(ids.NumberOf(0), In(IdState::kCompleted));
  ids.Reset(std::vector{kA}, std::vector{IdRecord{}});
  EXPECT_EQ(ids.Find(ids.NumberOf(0)).state, IdState::kAbsent);
  EXPECT_THAT(ids.Writes(), IsEmpty());
}

TEST(StagedIds, CopiesShareTheirIdAndTheFirstAnswerOfTheStore) {
  StagedIds ids = WithKeys({kA, kB, kA}, {In(IdState::kRetrying, 1), {}, {}});
  EXPECT_EQ(ids.NumberOf(2), ids.NumberOf(0));
  EXPECT_EQ(ids.Find(ids.NumberOf(2)).attempt, 1);
  ids.Put(ids.NumberOf(2), In(IdState::kCompleted, 2));
  EXPECT_EQ(ids.Find(ids.NumberOf(0)).state, IdState::kCompleted);
  EXPECT_THAT(ids.Writes(), SizeIs(1));
}

}  // namespace
}  // namespace once
