// What a store in a Redis Cluster does while slots move, which loses nothing, and when a master is
// lost: what could be lost is said once, the guarantee falls, and claims go on.
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "adapters/redis/keys.h"
#include "adapters/redis/tests/claim_words.h"
#include "adapters/redis/tests/loss_words.h"
#include "adapters/redis/tests/redis_cluster.h"
#include "once/redis/store.h"

namespace once::redis {
namespace {

using ::testing::AllOf;
using testing::Ask;
using testing::AwaitThat;
using testing::ExpectSyncFailsOnce;
using ::testing::HasSubstr;
using testing::LeaveCompleted;
using testing::MustOpen;
using testing::RedisCluster;
using testing::WatchfulOptions;

constexpr std::chrono::seconds kPatience(30);

int SlotOfId(const std::string& id) {
  return SlotOf(KeyNames("once:").OfId({.scope = "scope", .id = id}));
}

// Ids of one slot.
std::vector<std::string> IdsIn(int slot, std::size_t count) {
  std::vector<std::string> ids;
  for (int i = 0; ids.size() < count; ++i) {
    const std::string id = absl::StrCat("of ", slot, " ", i);
    if (SlotOfId(id) == slot) ids.push_back(id);
  }
  return ids;
}

// An id that lies with a master of the beginning.
std::string IdAt(const RedisCluster& cluster, int node, const std::string& name) {
  for (int i = 0;; ++i) {
    std::string id = absl::StrCat(name, " ", i);
    if (cluster.FirstOwnerOf(KeyNames("once:").OfId({.scope = "scope", .id = id})) == node) {
      return id;
    }
  }
}

// Workers that all want all ids, in one order.
class Workers {
 public:
  Workers(DedupStore& store, std::vector<std::string> ids) : store_(store), ids_(std::move(ids)) {
    for (int i = 0; i < 3; ++i) {
      threads_.emplace_back([this] {
        for (const std::string& id : ids_) Work(id);
      });
    }
  }
  bool are_done() const { return done_ == static_cast<int>(3 * ids_.size()); }
  void Join() { threads_.clear(); }
  // How often each id was handled.
  const std::map<std::string, int>& handled() const { return handled_; }

 private:
  void Work(const std::string& id) {
    const auto owner = testing::TryClaim(store_, id);
    EXPECT_TRUE(owner.ok()) << owner.status();
    if (owner.ok() && owner->result.verdict == ClaimVerdict::kFresh) {
      {
        const std::lock_guard lock(mutex_);
        ++handled_[id];
      }
      const absl::Status completed = testing::Complete(store_, *owner);
      EXPECT_TRUE(completed.ok()) << id << ": " << completed;
    }
    const absl::Status synced = store_.claims()->Sync();
    EXPECT_TRUE(synced.ok()) << synced;
    ++done_;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }

  DedupStore& store_;
  const std::vector<std::string> ids_;
  std::mutex mutex_;
  std::map<std::string, int> handled_;
  std::atomic<int> done_ = 0;
  std::vector<std::jthread> threads_;  // last: joined first
};

// Key by key, while somebody works: every command meets its key at the old owner, at the new one,
// or by ASK. Each slot moves once: nodes that hear late of one move make nonsense of the next.
TEST(RedisClusterMove, SlotsThatMoveWhileClaimsRunLoseNothingAndHandleNothingTwice) {
  RedisCluster cluster;
  const auto store = MustOpen(WatchfulOptions(cluster.url()));
  // That of the store's own keys, and others.
  const std::vector<int> slots = {
      SlotOf("{store}"), 100, 9000, 200, 9100, 15'000, 300, 9200, 15'100};
  constexpr std::size_t kIdsPerSlot = 10;
  std::vector<std::string> ids(slots.size() * kIdsPerSlot);
  for (std::size_t s = 0; s < slots.size(); ++s) {
    const std::vector<std::string> of_slot = IdsIn(slots[s], kIdsPerSlot);
    for (std::size_t i = 0; i < kIdsPerSlot; ++i) ids[i * slots.size() + s] = of_slot[i];
  }
  Workers workers(*store, ids);
  std::size_t moves = 0;
  for (; moves < slots.size() && !workers.are_done(); ++moves) {
    const int from = slots[moves] * 3 / kSlots;
    const int to = (from + 1) % 3;
    cluster.BeginMove(slots[moves], from, to);
    while (cluster.MoveKey(slots[moves], from, to)) {
    }
    cluster.EndMove(slots[moves], to);
  }
  EXPECT_EQ(moves, slots.size()) << "nobody worked while the last ones moved";
  workers.Join();
  for (const std::string& id : ids) {
    EXPECT_EQ(workers.handled().at(id), 1) << id;
    EXPECT_EQ(Ask(*store, id), ClaimVerdict::kDuplicate) << id;
  }
  EXPECT_EQ(store->traits().durability, Durability::kMachine) << store->traits().weakness;
}

// A call about many keys while one of their slots is half moved.
TEST(RedisClusterMove, KeysOfOneCallAreMetOnBothSidesOfAMove) {
  RedisCluster cluster;
  const auto store = MustOpen(WatchfulOptions(cluster.url()));
  const std::vector<std::string> ids = IdsIn(100, 16);
  for (std::size_t i = 0; i < 8; ++i) LeaveCompleted(*store, ids[i]);
  cluster.BeginMove(100, 0, 2);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(cluster.MoveKey(100, 0, 2));
  std::vector<ClaimRequest> requests;
  for (const std::string& id : ids) {
    requests.push_back({.key = {.scope = "scope", .id = id},
                        .fingerprint = {.high = 1, .low = 2},
                        .fence = store->claims()->NewFence()});
  }
  std::vector<ClaimResult> results(ids.size());
  const absl::Status claimed = store->claims()->TryClaim(requests, absl::Hours(1), results);
  ASSERT_TRUE(claimed.ok()) << claimed;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(results[i].verdict, i < 8 ? ClaimVerdict::kDuplicate : ClaimVerdict::kFresh) << i;
  }
  const auto findings = store->maintenance()->Verify({});
  EXPECT_TRUE(findings.ok() && findings->empty()) << findings.status();
  while (cluster.MoveKey(100, 0, 2)) {
  }
  cluster.EndMove(100, 2);
  for (const std::string& id : ids) EXPECT_NE(Ask(*store, id), ClaimVerdict::kFresh) << id;
}

// What is said of a key at the old owner must not take it away, not even to write it anew.
TEST(RedisClusterMove, OwnersSettleTheirClaimsOnBothSidesOfAMove) {
  RedisCluster cluster;
  const auto store = MustOpen(WatchfulOptions(cluster.url()));
  std::vector<testing::Owner> owners;
  for (const std::string& id : IdsIn(100, 6)) {
    const auto owner = testing::TryClaim(*store, id);
    ASSERT_TRUE(owner.ok()) << owner.status();
    owners.push_back(*owner);
  }
  cluster.BeginMove(100, 0, 2);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(cluster.MoveKey(100, 0, 2));
  for (const testing::Owner& owner : owners) {
    const absl::Status completed = testing::Complete(*store, owner, "paid");
    EXPECT_TRUE(completed.ok()) << completed;
    EXPECT_EQ(testing::TryClaim(*store, owner.id)->result.result, "paid");
  }
}

// The key of the witness at `node`; empty: there is none.
std::string WitnessAt(RedisCluster& cluster, int node) {
  const Reply keys = cluster.node(node).Ask({"KEYS", "once:{witness*"});
  return keys.elements.size() == 1 ? keys.elements.front().text : "";
}

TEST(RedisClusterMove, AWitnessWhoseSlotMovesIsNotMissedAndItsServerGetsAnother) {
  RedisCluster cluster;
  const auto store = MustOpen(WatchfulOptions(cluster.url()));
  const std::string mine = IdAt(cluster, 0, "mine");
  LeaveCompleted(*store, mine);
  ASSERT_TRUE(store->claims()->Sync().ok());
  const std::string witness = WitnessAt(cluster, 0);
  ASSERT_NE(witness, "");
  cluster.BeginMove(SlotOf(witness), 0, 1);
  while (cluster.MoveKey(SlotOf(witness), 0, 1)) {
  }
  LeaveCompleted(*store, IdAt(cluster, 0, "while it moves"));
  EXPECT_TRUE(store->claims()->Sync().ok());
  EXPECT_NE(WitnessAt(cluster, 0), "") << "it does not wait for the move to end";
  cluster.EndMove(SlotOf(witness), 1);
  EXPECT_TRUE(store->claims()->Sync().ok());
  EXPECT_EQ(store->traits().durability, Durability::kMachine) << store->traits().weakness;
  cluster.node(0).Ask({"FLUSHALL"});
  ExpectSyncFailsOnce(*store, "earlier state");
  EXPECT_EQ(store->traits().durability, Durability::kNothing);
}

TEST(RedisClusterMove, AMasterThatIsEmptiedSlotBySlotLosesNothing) {
  RedisCluster cluster({.masters = 2});
  const auto store = MustOpen(WatchfulOptions(cluster.url(1)));
  std::vector<std::string> ids;
  for (int i = 0; i < 30; ++i) ids.push_back(IdAt(cluster, 0, absl::StrCat("id ", i)));
  for (const std::string& id : ids) LeaveCompleted(*store, id);
  ASSERT_TRUE(store->claims()->Sync().ok());
  LeaveCompleted(*store, IdAt(cluster, 0, "unsynced"));
  std::set<int> slots;
  for (const Reply& key : cluster.node(0).Ask({"KEYS", "*"}).elements) {
    slots.insert(SlotOf(key.text));
  }
  for (const int slot : slots) {
    cluster.BeginMove(slot, 0, 1);
    while (cluster.MoveKey(slot, 0, 1)) {
    }
    cluster.EndMove(slot, 1);
  }
  cluster.GiveSlots(0, 1);
  for (const std::string& id : ids) EXPECT_EQ(Ask(*store, id), ClaimVerdict::kDuplicate);
  const absl::Status synced = store->claims()->Sync();
  EXPECT_TRUE(synced.ok()) << synced;
  EXPECT_EQ(store->traits().durability, Durability::kMachine) << store->traits().weakness;
}

// By force, as `redis-cli --cluster fix` does: nobody has moved the keys.
TEST(RedisClusterMove, SlotsThatAreGivenAwayWithoutTheirKeysAreALoss) {
  RedisCluster cluster({.masters = 2});
  const auto store = MustOpen(WatchfulOptions(cluster.url(1)));
  const std::string id = IdAt(cluster, 0, "id");
  LeaveCompleted(*store, id);
  ASSERT_TRUE(store->claims()->Sync().ok());
  cluster.node(0).Ask({"FLUSHALL"});
  cluster.GiveSlots(0, 1);
  EXPECT_EQ(Ask(*store, id), ClaimVerdict::kFresh);
  ExpectSyncFailsOnce(*store, "earlier state");
  EXPECT_EQ(store->traits().durability, Durability::kNothing);
}

class ClusterFailover : public ::testing::Test {
 protected:
  // Until the replica of node 0 has heard all that it has said.
  void AwaitCaughtUp() {
    AwaitThat(
        [this] {
          const auto offset = [](const RedisServer& server) {
            const std::string info = server.Ask({"INFO", "replication"}).text;
            const std::size_t at = info.find("master_repl_offset:");
            return info.substr(at, info.find('\r', at) - at);
          };
          return offset(cluster_.node(0)) == offset(cluster_.node(3));
        },
        "the replica catches up", kPatience);
  }
  using RedisServer = testing::RedisServer;

  // The replica of node 0 becomes the master of its slots; node 0 has ended.
  void Promote() {
    cluster_.node(0).Kill();
    AwaitThat(
        [this] {
          return !cluster_.node(3).Ask({"CLUSTER", "FAILOVER", "TAKEOVER"}).is_error() &&
                 cluster_.node(3).Ask({"ROLE"}).elements[0].text == "master";
        },
        "the replica is promoted", kPatience);
  }

  RedisCluster cluster_{{.has_replicas = true}};
  const std::shared_ptr<DedupStore> store_ =
      MustOpen({.url = cluster_.url(1),
                .call_timeout = absl::Seconds(20),
                .inspection_interval = absl::ZeroDuration()});
  const std::string id_ = IdAt(cluster_, 0, "of node 0");
};

TEST_F(ClusterFailover, AReplicaThatLaggedFailsTheNextSyncAndLowersTheGuarantee) {
  LeaveCompleted(*store_, id_);
  ASSERT_TRUE(store_->claims()->Sync().ok());
  AwaitCaughtUp();
  // What is sent no more arrives no more.
  cluster_.node(3).Stop();
  cluster_.node(0).Ask({"CLIENT", "KILL", "TYPE", "replica"});
  const std::string late = IdAt(cluster_, 0, "late");
  LeaveCompleted(*store_, late);
  EXPECT_EQ(store_->traits().durability, Durability::kProcess);
  cluster_.node(0).Kill();
  cluster_.node(3).Continue();
  Promote();
  EXPECT_EQ(Ask(*store_, late), ClaimVerdict::kFresh) << "it was lost, and that is said:";
  EXPECT_EQ(store_->traits().durability, Durability::kNothing);
  EXPECT_THAT(store_->traits().weakness, HasSubstr("failover"));
  ExpectSyncFailsOnce(*store_, "failover");
  EXPECT_EQ(Ask(*store_, id_), ClaimVerdict::kDuplicate);
}

// As it happens by itself: nobody promotes the replica but the cluster.
TEST_F(ClusterFailover, ClaimsGoOnAtTheReplicaThatTheClusterElects) {
  LeaveCompleted(*store_, id_);
  AwaitCaughtUp();
  cluster_.node(0).Kill();
  EXPECT_EQ(Ask(*store_, id_), ClaimVerdict::kDuplicate) << "within one call's patience";
  EXPECT_EQ(store_->traits().durability, Durability::kNothing);
  ExpectSyncFailsOnce(*store_, "failover");
  LeaveCompleted(*store_, IdAt(cluster_, 0, "afterwards"));
  LeaveCompleted(*store_, IdAt(cluster_, 1, "afterwards"));
  EXPECT_TRUE(store_->claims()->Sync().ok());
}

TEST_F(ClusterFailover, AThreadThatSaidNothingToTheLostMasterIsNotTold) {
  LeaveCompleted(*store_, id_);
  ASSERT_TRUE(store_->claims()->Sync().ok());
  AwaitCaughtUp();
  LeaveCompleted(*store_, IdAt(cluster_, 1, "elsewhere"));
  Promote();
  const absl::Status synced = store_->claims()->Sync();
  EXPECT_TRUE(synced.ok()) << synced;
  EXPECT_EQ(Ask(*store_, id_), ClaimVerdict::kDuplicate);
  EXPECT_EQ(store_->traits().durability, Durability::kNothing);
}

// Without a kill: the former master stays, as a replica, and its connections live.
TEST_F(ClusterFailover, AnOrderlyFailoverIsNoticedToo) {
  LeaveCompleted(*store_, id_);
  AwaitCaughtUp();
  // It is given up after five seconds, and begins anew with every order.
  auto next_order = std::chrono::steady_clock::now();
  AwaitThat(
      [&] {
        if (cluster_.node(3).Ask({"ROLE"}).elements[0].text == "master") return true;
        if (std::chrono::steady_clock::now() < next_order) return false;
        cluster_.node(3).Ask({"CLUSTER", "FAILOVER"});
        next_order = std::chrono::steady_clock::now() + std::chrono::seconds(6);
        return false;
      },
      "the failover ends", kPatience);
  EXPECT_EQ(Ask(*store_, id_), ClaimVerdict::kDuplicate);
  EXPECT_EQ(store_->traits().durability, Durability::kNothing);
  ExpectSyncFailsOnce(*store_, "failover");
}

TEST(RedisClusterOutage, WhereSlotsMayBeUncoveredOtherIdsGoOn) {
  RedisCluster cluster({.settings = {"cluster-require-full-coverage no"}});
  StoreOptions options = WatchfulOptions(cluster.url());
  options.call_timeout = absl::Seconds(2);
  const auto store = MustOpen(options);
  const std::string lost = IdAt(cluster, 2, "lost");
  LeaveCompleted(*store, lost);
  ASSERT_TRUE(store->claims()->Sync().ok());
  cluster.node(2).Kill();
  for (int i = 0; i < 3; ++i) {
    LeaveCompleted(*store, IdAt(cluster, 0, absl::StrCat("first ", i)));
    LeaveCompleted(*store, IdAt(cluster, 1, absl::StrCat("second ", i)));
    const absl::Status synced = store->claims()->Sync();
    EXPECT_TRUE(synced.ok()) << synced;
  }
  const absl::Status refused = testing::TryClaim(*store, lost).status();
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_THAT(refused.ToString(), AllOf(HasSubstr(absl::StrCat(":", cluster.port(2))),
                                        HasSubstr("promote its replica")));
  cluster.node(2).Start();
  cluster.AwaitState(2, "ok");
  EXPECT_EQ(Ask(*store, lost), ClaimVerdict::kDuplicate);
  EXPECT_EQ(store->traits().durability, Durability::kMachine) << store->traits().weakness;
}

// Neither is the master of the store's own keys needed, once a scope is known.
TEST(RedisClusterOutage, WithoutTheStoresOwnKeysClaimsGoOn) {
  RedisCluster cluster({.settings = {"cluster-require-full-coverage no"}});
  const int keeper = cluster.FirstOwnerOf("once:{store}");
  const int other = (keeper + 1) % 3;
  StoreOptions options = WatchfulOptions(cluster.url(other));
  options.call_timeout = absl::Seconds(3);
  const auto store = MustOpen(options);
  const std::string id = IdAt(cluster, other, "id");
  LeaveCompleted(*store, id);
  cluster.node(keeper).Kill();
  // What has changed makes the store look whether its scopes are still noted.
  cluster.node(other).Kill();
  cluster.node(other).Start();
  cluster.AwaitState(other, "ok");
  EXPECT_EQ(Ask(*store, id), ClaimVerdict::kDuplicate);
  EXPECT_THAT(store->claims()->Sync().ToString(), HasSubstr("restart"));
  EXPECT_EQ(Ask(*store, IdAt(cluster, other, "new")), ClaimVerdict::kFresh);
  const absl::Status synced = store->claims()->Sync();
  EXPECT_TRUE(synced.ok()) << synced;
}

// One call about an id that nobody can be asked for says nothing to anybody else.
TEST(RedisClusterOutage, ACallThatCannotReachEverybodySaysNothing) {
  RedisCluster cluster({.settings = {"cluster-require-full-coverage no"}});
  StoreOptions options = WatchfulOptions(cluster.url());
  options.call_timeout = absl::Seconds(1);
  const auto store = MustOpen(options);
  cluster.node(2).Kill();
  const std::string here = IdAt(cluster, 0, "here");
  const std::string there = IdAt(cluster, 2, "there");
  const std::vector<ClaimRequest> requests = {
      {.key = {.scope = "scope", .id = here}, .fence = store->claims()->NewFence()},
      {.key = {.scope = "scope", .id = there}, .fence = store->claims()->NewFence()}};
  std::vector<ClaimResult> results(2);
  const absl::Status refused = store->claims()->TryClaim(requests, absl::Hours(1), results);
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_EQ(Ask(*store, here), ClaimVerdict::kFresh);
}

TEST(RedisClusterOutage, AClusterThatIsDownAsAWholeSaysSo) {
  RedisCluster cluster;
  StoreOptions options = WatchfulOptions(cluster.url());
  options.call_timeout = absl::Seconds(2);
  const auto store = MustOpen(options);
  const std::string id = IdAt(cluster, 0, "id");
  LeaveCompleted(*store, id);
  cluster.node(2).Kill();
  cluster.AwaitState(0, "fail");
  const absl::Status refused = testing::TryClaim(*store, id).status();
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_THAT(refused.ToString(), HasSubstr("cluster-require-full-coverage"));
  cluster.node(2).Start();
  cluster.AwaitState(0, "ok");
  EXPECT_EQ(Ask(*store, id), ClaimVerdict::kDuplicate);
}

TEST(RedisClusterOutage, ARestartOfOneMasterFailsTheNextSyncOfThoseWhoSpokeToIt) {
  RedisCluster cluster;
  StoreOptions options = WatchfulOptions(cluster.url(1));
  options.call_timeout = absl::Seconds(20);
  const auto store = MustOpen(options);
  const std::string id = IdAt(cluster, 0, "id");
  LeaveCompleted(*store, id);
  cluster.node(0).Kill();
  cluster.node(0).Start();
  EXPECT_EQ(Ask(*store, id), ClaimVerdict::kDuplicate) << "within one call's patience";
  ExpectSyncFailsOnce(*store, "restart");
  EXPECT_EQ(store->traits().durability, Durability::kMachine) << store->traits().weakness;
}

}  // namespace
}  // namespace once::redis
