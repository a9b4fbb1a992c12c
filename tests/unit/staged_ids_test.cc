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

TEST(StagedIds, KnowsNothingAtFirst) {
  EXPECT_EQ(StagedIds().Find(kA).state, IdState::kAbsent);
  EXPECT_THAT(StagedIds().Writes(), IsEmpty());
}

TEST(StagedIds, FindsWhatTheStoreSaidAndWritesNoneOfIt) {
  StagedIds ids;
  ids.Reset(std::vector{kA, kB}, std::vector{In(IdState::kCompleted), In(IdState::kRetrying, 2)});
  EXPECT_EQ(ids.Find(kA).state, IdState::kCompleted);
  EXPECT_EQ(ids.Find(kB).attempt, 2);
  EXPECT_THAT(ids.Writes(), IsEmpty());
}

TEST(StagedIds, WhatWasPutCoversWhatTheStoreSaid) {
  StagedIds ids;
  ids.Reset(std::vector{kA}, std::vector{In(IdState::kRetrying, 1)});
  ids.Put(kA, In(IdState::kCompleted, 2));
  EXPECT_EQ(ids.Find(kA).state, IdState::kCompleted);
  ASSERT_THAT(ids.Writes(), SizeIs(1));
  EXPECT_EQ(ids.Writes()[0].record, In(IdState::kCompleted, 2));
}

TEST(StagedIds, WritesTheFinalRecordOnceInTheOrderOfTheFirstPut) {
  StagedIds ids;
  ids.Put(kB, In(IdState::kRetrying, 1));
  ids.Put(kA, In(IdState::kCompleted));
  ids.Put(kB, In(IdState::kDead, 2));
  const std::vector<IdWrite> writes = ids.Writes();
  ASSERT_THAT(writes, SizeIs(2));
  EXPECT_EQ(writes[0].key, kB);
  EXPECT_EQ(writes[0].record, In(IdState::kDead, 2));
  EXPECT_EQ(writes[1].key, kA);
}

TEST(StagedIds, TellsScopesApart) {
  StagedIds ids;
  ids.Put(kA, In(IdState::kCompleted));
  EXPECT_EQ(ids.Find({.scope = "other", .id = "a"}).state, IdState::kAbsent);
  EXPECT_EQ(ids.Find({.scope = "sa", .id = ""}).state, IdState::kAbsent);
}

TEST(StagedIds, AResetLeavesNothingOfTheLastTransactionBehind) {
  StagedIds ids;
  ids.Put(kA, In(IdState::kCompleted));
  ids.Reset({}, {});
  EXPECT_EQ(ids.Find(kA).state, IdState::kAbsent);
  EXPECT_THAT(ids.Writes(), IsEmpty());
}

TEST(StagedIds, ARepeatedKeyKeepsTheFirstAnswerOfTheStore) {
  StagedIds ids;
  ids.Reset(std::vector{kA, kA}, std::vector{In(IdState::kCompleted), In(IdState::kCompleted)});
  EXPECT_EQ(ids.Find(kA).state, IdState::kCompleted);
}

}  // namespace
}  // namespace once
