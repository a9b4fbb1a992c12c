// A store in a Redis Cluster: its keys lie at all masters, and it is one store all the same, for
// its owners and its operators.
#include <map>
#include <set>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "adapters/redis/keys.h"
#include "adapters/redis/tests/claim_words.h"
#include "adapters/redis/tests/redis_cluster.h"
#include "once/redis/store.h"

namespace once::redis {
namespace {

using ::testing::AllOf;
using testing::Ask;
using testing::ClusterShape;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::LeaveCompleted;
using testing::MustOpen;
using testing::NewPrefix;
using testing::RedisCluster;
using testing::SharedCluster;

absl::Status OpeningOf(StoreOptions options) { return OpenStore(std::move(options)).status(); }

class InCluster : public ::testing::Test {
 protected:
  std::vector<std::string> Ids(int count) const {
    std::vector<std::string> ids;
    for (int i = 0; i < count; ++i) ids.push_back(absl::StrCat("id ", i));
    return ids;
  }
  // In one call.
  std::vector<ClaimResult> ClaimAll(const std::vector<std::string>& ids,
                                    std::vector<Claim>& claims) {
    std::vector<ClaimRequest> requests;
    for (const std::string& id : ids) {
      requests.push_back(
          {.key = {.scope = "scope", .id = id}, .fence = store_->claims()->NewFence()});
      claims.push_back({.key = requests.back().key, .fence = requests.back().fence});
    }
    std::vector<ClaimResult> results(ids.size());
    const absl::Status claimed = store_->claims()->TryClaim(requests, absl::Hours(1), results);
    EXPECT_TRUE(claimed.ok()) << claimed;
    return results;
  }
  int KeysAt(int node) {
    return static_cast<int>(
        SharedCluster().node(node).Ask({"KEYS", prefix_ + "*"}).elements.size());
  }
  std::int64_t FigureOf(const std::string& name) {
    const auto figures = store_->maintenance()->ReadFigures();
    EXPECT_TRUE(figures.ok()) << figures.status();
    for (const StoreFigure& figure : figures.value_or(std::vector<StoreFigure>())) {
      if (figure.name == name) return figure.value;
    }
    ADD_FAILURE() << "no figure " << name;
    return -1;
  }

  const std::string prefix_ = NewPrefix();
  const std::shared_ptr<DedupStore> store_ =
      MustOpen({.url = SharedCluster().url(), .key_prefix = prefix_});
};

TEST_F(InCluster, OneCallReachesAllMastersAndItsResultsKeepTheirOrder) {
  const std::vector<std::string> ids = Ids(600);
  std::vector<Claim> claims;
  for (const ClaimResult& result : ClaimAll(ids, claims)) {
    EXPECT_EQ(result.verdict, ClaimVerdict::kFresh);
  }
  std::vector<CompletedClaim> completed;
  for (const Claim& claim : claims) completed.push_back({.claim = claim, .result = claim.key.id});
  std::vector<absl::Status> outcomes(ids.size(), absl::InternalError("not told"));
  ASSERT_TRUE(store_->claims()->Complete(completed, outcomes).ok());
  for (const absl::Status& outcome : outcomes) EXPECT_TRUE(outcome.ok()) << outcome;
  const std::vector<ClaimResult> again = ClaimAll(ids, claims);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(again[i].verdict, ClaimVerdict::kDuplicate);
    EXPECT_EQ(again[i].result, ids[i]);
  }
  for (int node = 0; node < 3; ++node) EXPECT_GT(KeysAt(node), 100) << node;
}

TEST_F(InCluster, EveryNodeLeadsToTheSameStore) {
  LeaveCompleted(*store_, "id");
  for (int node = 1; node < 3; ++node) {
    const auto same = MustOpen({.url = SharedCluster().url(node), .key_prefix = prefix_});
    EXPECT_EQ(same->traits().id, store_->traits().id);
    EXPECT_EQ(same->traits().open_count, static_cast<std::uint64_t>(node + 1));
    EXPECT_EQ(Ask(*same, "id"), ClaimVerdict::kDuplicate);
  }
}

TEST_F(InCluster, MastersThatSyncAlwaysAreTrustedAsOneServerIs) {
  EXPECT_EQ(store_->traits().durability, Durability::kMachine);
  EXPECT_EQ(store_->traits().weakness, "");
}

// Each master has one of its own, and no other master has any of it.
TEST_F(InCluster, ASyncLeavesAWitnessWithEveryMasterThatWasSpokenTo) {
  std::vector<Claim> claims;
  ClaimAll(Ids(50), claims);
  ASSERT_TRUE(store_->claims()->Sync().ok());
  ASSERT_TRUE(store_->claims()->Sync().ok());
  for (int node = 0; node < 3; ++node) {
    const Reply keys = SharedCluster().node(node).Ask({"KEYS", prefix_ + "{witness*"});
    EXPECT_EQ(keys.elements.size(), 1) << node;
  }
}

TEST_F(InCluster, OperatorsSeeAllMasters) {
  std::vector<Claim> claims;
  ClaimAll(Ids(300), claims);
  for (int i = 0; i < 60; ++i) LeaveCompleted(*store_, absl::StrCat("done ", i));
  EXPECT_EQ(FigureOf("claimed_ids_count"), 300);
  EXPECT_EQ(FigureOf("completed_ids_count"), 60);
  EXPECT_EQ(FigureOf("servers_count"), 3);
  EXPECT_EQ(FigureOf("uncounted_keys_count"), 0);
  const auto findings = store_->maintenance()->Verify({});
  ASSERT_TRUE(findings.ok()) << findings.status();
  EXPECT_THAT(*findings, IsEmpty());
  const absl::Status compacted = store_->maintenance()->Compact({});
  EXPECT_TRUE(compacted.ok()) << compacted;
}

TEST_F(InCluster, AForeignKeyIsFoundAtWhicheverMasterItIs) {
  for (int node = 0; node < 3; ++node) {
    std::string key;
    for (int i = 0; key.empty() || SharedCluster().FirstOwnerOf(key) != node; ++i) {
      key = absl::StrCat(prefix_, "{foreign ", i, "}");
    }
    ASSERT_FALSE(SharedCluster().node(node).Ask({"SET", key, "x"}).is_error());
  }
  const auto findings = store_->maintenance()->Verify({});
  ASSERT_TRUE(findings.ok()) << findings.status();
  EXPECT_EQ(findings->size(), 3);
}

TEST_F(InCluster, OperatorsDecideAboutAnIdWhereverItLies) {
  for (int i = 0; i < 12; ++i) {
    const std::string id = absl::StrCat("doomed ", i);
    const auto owner = testing::TryClaim(*store_, id);
    ASSERT_TRUE(owner.ok()) << owner.status();
    const DyingClaim dying{.claim = owner->claim(), .disposition = Disposition::kUncertain};
    absl::Status outcome;
    ASSERT_TRUE(store_->claims()->Dying({&dying, 1}, {&outcome, 1}).ok());
    const Claim claim = owner->claim();
    ASSERT_TRUE(store_->claims()->Kill({&claim, 1}, {&outcome, 1}).ok());
    const auto found = store_->operations()->FindId(id);
    ASSERT_TRUE(found.ok()) << found.status();
    ASSERT_EQ(found->size(), 1);
    EXPECT_EQ(found->front().record.state, IdState::kUncertain);
    const IdKey key{.scope = "scope", .id = id};
    EXPECT_TRUE(store_->operations()->Resolve(key).ok());
    EXPECT_EQ(Ask(*store_, id), ClaimVerdict::kDuplicate);
  }
}

// Nobody has noted its scope: all masters' keys are looked through.
TEST_F(InCluster, AnIdOfAScopeThatNobodyNotedIsFoundToo) {
  for (int i = 0; i < 6; ++i) LeaveCompleted(*store_, absl::StrCat("id ", i));
  for (int node = 0; node < 3; ++node) {
    SharedCluster().node(node).Ask({"DEL", prefix_ + "{store}:scopes"});
  }
  for (int i = 0; i < 6; ++i) {
    const auto found = store_->operations()->FindId(absl::StrCat("id ", i));
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(found->size(), 1) << i;
  }
}

TEST(RedisClusterOpening, AClusterHasOneDatabase) {
  const absl::Status refused = OpeningOf({.url = SharedCluster().url() + "/3"});
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_THAT(refused.ToString(), AllOf(HasSubstr("database 0"), HasSubstr("key_prefix")));
}

TEST(RedisClusterOpening, AReplicaLeadsToItsCluster) {
  RedisCluster cluster({.masters = 1, .has_replicas = true});
  // A majority of one.
  const auto store = MustOpen({.url = cluster.url(1)});
  LeaveCompleted(*store, "id");
  EXPECT_EQ(store->traits().durability, Durability::kProcess);
  EXPECT_THAT(store->traits().weakness, AllOf(HasSubstr("replicas"), HasSubstr(cluster.url(0))));
}

TEST(RedisClusterOpening, TheWeakestMasterIsTheGuarantee) {
  RedisCluster cluster;
  cluster.node(1).Ask({"CONFIG", "SET", "appendfsync", "everysec"});
  const StoreTraits traits = MustOpen({.url = cluster.url(0)})->traits();
  EXPECT_EQ(traits.durability, Durability::kProcess);
  EXPECT_THAT(traits.weakness, AllOf(HasSubstr("set always"), HasSubstr(cluster.url(1))));
  cluster.node(2).Ask({"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"});
  const absl::Status refused = OpeningOf({.url = cluster.url(0)});
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(refused.ToString(), AllOf(HasSubstr("allkeys-lru"), HasSubstr(cluster.url(2))));
}

// The rights that the README asks for, and no more.
TEST(RedisClusterOpening, AUserWithTheRightsOfTheStoreIsEnough) {
  RedisCluster cluster;
  for (int node = 0; node < cluster.size(); ++node) {
    cluster.node(node).Ask({"ACL", "SETUSER", "clerk", "on", ">pass", "~once:*", "+@read",
                            "+@write", "+@scripting", "+info", "+time", "+config|get",
                            "+cluster|slots", "+asking"});
  }
  const auto store = MustOpen({.url = cluster.url(), .user = "clerk", .password = "pass"});
  for (int i = 0; i < 10; ++i) LeaveCompleted(*store, absl::StrCat(i));
  EXPECT_TRUE(store->claims()->Sync().ok());
}

}  // namespace
}  // namespace once::redis
