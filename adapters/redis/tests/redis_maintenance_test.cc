// Figures, checks and compaction of a Redis claim store, and why it has no backup.
#include <thread>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "adapters/redis/id_hash.h"
#include "adapters/redis/keys.h"
#include "adapters/redis/tests/claim_words.h"
#include "adapters/redis/tests/redis_server.h"
#include "once/redis/store.h"

namespace once::redis {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::LeaveCompleted;
using testing::MustOpen;
using testing::NewPrefix;
using testing::RedisServer;
using testing::SharedServer;
using testing::TryClaim;

class RedisUpkeep : public ::testing::Test {
 protected:
  StoreMaintenance& maintenance() { return *store_->maintenance(); }

  std::int64_t FigureOf(const std::string& name) {
    const auto figures = maintenance().ReadFigures();
    EXPECT_TRUE(figures.ok()) << figures.status();
    for (const StoreFigure& figure : figures.value_or(std::vector<StoreFigure>())) {
      if (figure.name == name) return figure.value;
    }
    ADD_FAILURE() << "no figure " << name;
    return -1;
  }
  // More than a page of keys has.
  void LeaveManyCompleted(int count) {
    std::vector<std::string> ids;
    for (int i = 0; i < count; ++i) ids.push_back(absl::StrCat("done ", i));
    std::vector<ClaimRequest> requests;
    std::vector<CompletedClaim> completed;
    for (const std::string& id : ids) {
      const Claim claim{.key = {.scope = "scope", .id = id}, .fence = store_->claims()->NewFence()};
      requests.push_back({.key = claim.key, .fence = claim.fence});
      completed.push_back({.claim = claim});
    }
    std::vector<ClaimResult> results(ids.size());
    std::vector<absl::Status> outcomes(ids.size());
    ASSERT_TRUE(store_->claims()->TryClaim(requests, absl::Hours(1), results).ok());
    ASSERT_TRUE(store_->claims()->Complete(completed, outcomes).ok());
  }
  std::vector<std::string> Findings() {
    const auto findings = maintenance().Verify({});
    EXPECT_TRUE(findings.ok()) << findings.status();
    return findings.value_or(std::vector<std::string>());
  }
  std::string IdKeyName(std::string_view id) const {
    return KeyNames(prefix_).OfId({.scope = "scope", .id = id});
  }

  const std::string prefix_ = NewPrefix();
  const std::shared_ptr<DedupStore> store_ =
      MustOpen({.url = SharedServer().url(), .key_prefix = prefix_});
};

TEST_F(RedisUpkeep, FiguresCountIdsByTheirState) {
  LeaveManyCompleted(1200);
  ASSERT_TRUE(TryClaim(*store_, "held").ok());
  ASSERT_TRUE(TryClaim(*store_, "held too").ok());
  EXPECT_EQ(FigureOf("completed_ids_count"), 1200);
  EXPECT_EQ(FigureOf("claimed_ids_count"), 2);
  EXPECT_EQ(FigureOf("dead_ids_count"), 0);
  EXPECT_EQ(FigureOf("ids_count"), 1202);
  EXPECT_EQ(FigureOf("uncounted_keys_count"), 0);
  EXPECT_EQ(FigureOf("openings_count"), 1);
}

TEST_F(RedisUpkeep, FiguresTellOfTheServer) {
  RedisServer server;
  const auto store = MustOpen({.url = server.url()});
  LeaveCompleted(*store, "id");
  const auto first = store->maintenance()->ReadFigures();
  ASSERT_TRUE(first.ok()) << first.status();
  const auto value = [&](std::string_view name) {
    for (const StoreFigure& figure : *first) {
      if (figure.name == name) return figure.value;
    }
    ADD_FAILURE() << name;
    return std::int64_t{-1};
  };
  EXPECT_GT(value("server_memory_bytes"), 0);
  EXPECT_GT(value("append_only_file_bytes"), 0);
  EXPECT_EQ(value("replicas_count"), 0);
  EXPECT_EQ(value("server_keys_count"), 3) << "the store, a scope, an id";
}

TEST_F(RedisUpkeep, WhatIsSomebodyElsesIsCountedApart) {
  LeaveCompleted(*store_, "id");
  SharedServer().Ask({"SET", prefix_ + "{anything}", "x"});
  SharedServer().Ask({"SET", IdKeyName("no hash"), "x"});
  SharedServer().Ask({"SET", "elsewhere" + prefix_ + "{x}", "x"});
  EXPECT_EQ(FigureOf("ids_count"), 1);
  EXPECT_EQ(FigureOf("foreign_keys_count"), 2);
}

TEST_F(RedisUpkeep, AStoreThatOnlyItsOwnWordsHaveTouchedIsSound) {
  LeaveCompleted(*store_, "id");
  ASSERT_TRUE(TryClaim(*store_, std::string("any\0 bytes*", 11)).ok());
  ASSERT_TRUE(store_->claims()->Sync().ok());
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(RedisUpkeep, WhatNoWordOfOursHasWrittenIsFound) {
  LeaveCompleted(*store_, "sound");
  const auto expect = [&](const char* says) {
    const std::vector<std::string> findings = Findings();
    EXPECT_THAT(findings, ElementsAre(HasSubstr(says)));
  };
  const std::string key = IdKeyName("id");
  SharedServer().Ask({"HSET", key, "s", "6"});
  expect("its state (s) is \"6\"");
  SharedServer().Ask({"HSET", key, "s", "1", "unknown", "x"});
  expect("a field \"unknown\"");
  SharedServer().Ask({"HDEL", key, "unknown"});
  SharedServer().Ask({"HSET", key, "f", "1:2", "le", "5"});
  expect("it is completed and somebody still claims it");
  SharedServer().Ask({"DEL", key});
  SharedServer().Ask({"HSET", key, "s", "3"});
  EXPECT_THAT(Findings(), IsEmpty());
  SharedServer().Ask({"EXPIRE", key, "1000"});
  expect("it is dead and will be forgotten");
  SharedServer().Ask({"DEL", key});
  for (int i = 0; i < 20; ++i) SharedServer().Ask({"HSET", key, absl::StrCat(i), "x"});
  expect("it has 20 fields");
  SharedServer().Ask({"DEL", key});
  SharedServer().Ask({"RPUSH", key, "x"});
  expect("it is a list, no hash");
  SharedServer().Ask({"DEL", key});
  SharedServer().Ask({"SET", prefix_ + "{witness}:12", "many"});
  expect("it holds no number");
  SharedServer().Ask({"DEL", prefix_ + "{witness}:12"});
  // A key whose braces are those of another id.
  std::string misplaced = key;
  misplaced[prefix_.size() + 1] = misplaced[prefix_.size() + 1] == '0' ? '1' : '0';
  SharedServer().Ask({"HSET", misplaced, "s", "1"});
  expect("somebody else uses its key_prefix");
}

TEST_F(RedisUpkeep, FindingsAreBounded) {
  SharedServer().Ask({"EVAL", "for i=1,3000 do redis.call('SET',ARGV[1]..i..'}','x') end", "0",
                      prefix_ + "{foreign "});
  EXPECT_GE(Findings().size(), 100U);
  EXPECT_LT(Findings().size(), 2000U);
}

TEST_F(RedisUpkeep, ACheckGivesUpOnRequest) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_TRUE(absl::IsCancelled(maintenance().Verify(stop.get_token()).status()));
}

TEST_F(RedisUpkeep, ACompactionRewritesTheAppendOnlyFile) {
  RedisServer server({"auto-aof-rewrite-percentage 0"});
  const auto store = MustOpen({.url = server.url()});
  const auto owner = TryClaim(*store, "id");
  ASSERT_TRUE(owner.ok());
  for (int i = 0; i < 500; ++i) {
    const Claim claim = owner->claim();
    absl::Status outcome;
    ASSERT_TRUE(store->claims()->Renew({&claim, 1}, absl::Hours(1), {&outcome, 1}).ok());
  }
  const auto bytes = [&] {
    const auto figures = store->maintenance()->ReadFigures();
    for (const StoreFigure& figure : figures.value_or(std::vector<StoreFigure>())) {
      if (figure.name == "append_only_file_bytes") return figure.value;
    }
    return std::int64_t{-1};
  };
  const std::int64_t before = bytes();
  const absl::Status compacted = store->maintenance()->Compact({});
  EXPECT_TRUE(compacted.ok()) << compacted;
  EXPECT_LT(bytes(), before / 10);
  EXPECT_EQ(testing::Ask(*store, "id"), ClaimVerdict::kInProgress);
}

TEST_F(RedisUpkeep, WithoutAnAppendOnlyFileThereIsNothingToCompact) {
  RedisServer server({"appendonly no"});
  const auto store = MustOpen({.url = server.url()});
  const absl::Status refused = store->maintenance()->Compact({});
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(refused.ToString(), HasSubstr("nothing to compact"));
}

TEST_F(RedisUpkeep, ARewriteThatFailsIsSaid) {
  RedisServer server;
  const auto store = MustOpen({.url = server.url()});
  LeaveCompleted(*store, "id");
  server.Ask({"ACL", "SETUSER", "default", "-bgrewriteaof"});
  const absl::Status refused = store->maintenance()->Compact({});
  EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
  EXPECT_THAT(refused.ToString(), HasSubstr("bgrewriteaof"));
}

TEST_F(RedisUpkeep, ABackupIsRefusedWithTheReason) {
  const absl::Status refused = maintenance().Backup("/tmp/nowhere", {});
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(refused.ToString(), AllOf(HasSubstr("BGSAVE"), HasSubstr("handled again")));
}

// The rights that the README asks for, and no more.
TEST_F(RedisUpkeep, AUserWithTheRightsOfTheStoreMayLook) {
  RedisServer server;
  server.Ask({"ACL", "SETUSER", "clerk", "on", ">pass", "~once:*", "+@read", "+@write",
              "+@scripting", "+info", "+time", "+config|get"});
  const auto store = MustOpen({.url = server.url(), .user = "clerk", .password = "pass"});
  LeaveCompleted(*store, "id");
  EXPECT_TRUE(store->maintenance()->ReadFigures().ok());
  EXPECT_TRUE(store->maintenance()->Verify({}).ok());
  EXPECT_TRUE(store->operations()->FindId("id").ok());
  EXPECT_TRUE(store->operations()->FindId("nobody").ok());
}

std::string Contradiction(std::map<std::string, std::string> fields, bool is_expiring = false) {
  return FindContradiction({.fields = std::move(fields), .is_expiring = is_expiring});
}

TEST(RedisIdHash, EveryStateThatTheScriptsLeaveIsFine) {
  const std::string print(16, 'p');
  EXPECT_EQ(Contradiction({{"f", "1:2"}, {"le", "5"}, {"cp", print}}), "");
  EXPECT_EQ(Contradiction({{"f", "1:2"}, {"le", "5"}, {"b", "1"}}), "");
  EXPECT_EQ(Contradiction({{"s", "1"}, {"p", print}, {"r", "16384"}}, true), "");
  EXPECT_EQ(Contradiction({{"s", "2"}, {"a", "1"}, {"nb", "7"}, {"ff", "-7"}, {"m", "1"}}), "");
  EXPECT_EQ(Contradiction({{"s", "7"}, {"d", "0"}, {"b", "1"}, {"cp", print}}), "");
  EXPECT_EQ(Contradiction({{"s", "4"}}, true), "");
}

TEST(RedisIdHash, WhatContradictsItselfIsSaid) {
  const std::string print(16, 'p');
  EXPECT_THAT(Contradiction({}), HasSubstr("nobody claims it"));
  EXPECT_THAT(Contradiction({{"s", "0"}}), HasSubstr("state"));
  EXPECT_THAT(Contradiction({{"s", "01"}}), HasSubstr("state"));
  EXPECT_THAT(Contradiction({{"s", "1"}, {"p", "short"}}), HasSubstr("fingerprint"));
  EXPECT_THAT(Contradiction({{"f", "1:2:3"}, {"le", "5"}}), HasSubstr("fence"));
  EXPECT_THAT(Contradiction({{"f", "1:2"}}), HasSubstr("only one"));
  EXPECT_THAT(Contradiction({{"s", "2"}, {"d", "1"}}), HasSubstr("disposition"));
  EXPECT_THAT(Contradiction({{"s", "7"}}), HasSubstr("disposition"));
  EXPECT_THAT(Contradiction({{"s", "7"}, {"d", "8"}}), HasSubstr("disposition"));
  EXPECT_THAT(Contradiction({{"s", "2"}, {"b", "1"}}), HasSubstr("begun by nobody"));
  EXPECT_THAT(Contradiction({{"s", "2"}, {"b", "2"}}), HasSubstr("begun"));
  EXPECT_THAT(Contradiction({{"f", "1:2"}, {"le", "5"}, {"m", "1"}}), HasSubstr("may have run"));
  EXPECT_THAT(Contradiction({{"s", "2"}, {"cp", print}}), HasSubstr("without one"));
  EXPECT_THAT(Contradiction({{"s", "3"}, {"nb", "1"}}), HasSubstr("next attempt"));
  EXPECT_THAT(Contradiction({{"s", "3"}, {"r", "1"}}), HasSubstr("result"));
  EXPECT_THAT(Contradiction({{"s", "2"}}, true), HasSubstr("will be forgotten"));
}

TEST(RedisKeyNames, AreReadBack) {
  const KeyNames names("p*:");
  const IdKey id{.scope = "s:1", .id = std::string_view("a\0}", 3)};
  const std::string key = names.OfId(id);
  EXPECT_EQ(names.Read(key).kind, KeyNames::Kind::kId);
  EXPECT_EQ(names.Read(key).id, id);
  EXPECT_EQ(names.Read(names.OfStore()).kind, KeyNames::Kind::kStore);
  EXPECT_EQ(names.Read(names.OfScopes()).kind, KeyNames::Kind::kScopes);
  EXPECT_EQ(names.Read(names.OfWitness(kWitnessTag, 77)).kind, KeyNames::Kind::kWitness);
  for (const char* const foreign : {"", "p*:", "p*:{", "p*:{witness}:", "p*:{witness}:xyz", "other",
                                    "p*:{0123456789abcdef}", "p*:{0123456789abcdef}zz"}) {
    EXPECT_EQ(names.Read(foreign).kind, KeyNames::Kind::kForeign) << foreign;
  }
}

}  // namespace
}  // namespace once::redis
