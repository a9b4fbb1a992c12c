// What the store says when the server loses what it has answered: a restart, a file that went back,
// a failover to a replica that lags, an emptied server. Never silently: the next Sync() fails once,
// and the guarantee falls where the loss was real.
#include <atomic>
#include <filesystem>
#include <future>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "adapters/redis/tests/claim_words.h"
#include "adapters/redis/tests/cut_proxy.h"
#include "adapters/redis/tests/loss_words.h"
#include "adapters/redis/tests/redis_server.h"
#include "once/redis/store.h"

namespace once::redis {
namespace {

using testing::Ask;
using testing::AwaitThat;
using testing::ExpectSyncFailsOnce;
using ::testing::HasSubstr;
using testing::LeaveCompleted;
using testing::MustOpen;
using testing::RedisServer;
using testing::WatchfulOptions;

constexpr std::chrono::seconds kPatience(20);

bool Holds(const RedisServer& server, const char* info) {
  return server.Ask({"INFO"}).text.find(info) != std::string::npos;
}

TEST(RedisLoss, ARestartThatLosesNothingFailsTheNextSyncAndKeepsTheGuarantee) {
  RedisServer server;
  const auto store = MustOpen(WatchfulOptions(server.url()));
  LeaveCompleted(*store, "synced");
  ASSERT_TRUE(store->claims()->Sync().ok());
  LeaveCompleted(*store, "unsynced");
  server.Kill();
  server.Start();
  EXPECT_EQ(Ask(*store, "synced"), ClaimVerdict::kDuplicate);
  ExpectSyncFailsOnce(*store, "restart");
  EXPECT_EQ(store->traits().durability, Durability::kMachine);
  EXPECT_EQ(Ask(*store, "unsynced"), ClaimVerdict::kDuplicate);
}

TEST(RedisLoss, ARestartWithNothingUnsyncedFailsNoSync) {
  RedisServer server;
  const auto store = MustOpen(WatchfulOptions(server.url()));
  LeaveCompleted(*store, "id");
  ASSERT_TRUE(store->claims()->Sync().ok());
  server.Kill();
  server.Start();
  const absl::Status synced = store->claims()->Sync();
  EXPECT_TRUE(synced.ok()) << synced;
  EXPECT_EQ(store->traits().durability, Durability::kMachine);
}

// With everysec a write to the file waits for a sync that is under way.
void CopyFile(const RedisServer& server) {
  AwaitThat([&] { return Holds(server, "aof_buffer_length:0"); }, "the file is written", kPatience);
  std::filesystem::copy(server.File("appendonlydir"), server.File("copy"),
                        std::filesystem::copy_options::recursive);
}

// As a machine does that lost its power under appendfsync everysec, or a backup that was restored.
void KillAndGoBack(RedisServer& server, const std::string& copy) {
  server.Kill();
  std::filesystem::remove_all(server.File("appendonlydir"));
  std::filesystem::copy(copy, server.File("appendonlydir"),
                        std::filesystem::copy_options::recursive);
  server.Start();
}

TEST(RedisLoss, AFileThatWentBackBehindASyncLowersTheGuarantee) {
  RedisServer server({"appendfsync everysec"});
  const auto store = MustOpen(WatchfulOptions(server.url()));
  EXPECT_EQ(store->traits().durability, Durability::kProcess);
  LeaveCompleted(*store, "old");
  ASSERT_TRUE(store->claims()->Sync().ok());
  CopyFile(server);
  LeaveCompleted(*store, "new");
  ASSERT_TRUE(store->claims()->Sync().ok());
  KillAndGoBack(server, server.File("copy"));
  ExpectSyncFailsOnce(*store, "earlier state");
  EXPECT_EQ(store->traits().durability, Durability::kNothing);
  EXPECT_THAT(store->traits().weakness, HasSubstr("earlier state"));
  EXPECT_EQ(Ask(*store, "old"), ClaimVerdict::kDuplicate);
  EXPECT_EQ(Ask(*store, "new"), ClaimVerdict::kFresh) << "it was lost, and that was said";
}

TEST(RedisLoss, ATailThatNobodySyncedFailsTheNextSyncOnly) {
  RedisServer server({"appendfsync everysec"});
  const auto store = MustOpen(WatchfulOptions(server.url()));
  LeaveCompleted(*store, "old");
  ASSERT_TRUE(store->claims()->Sync().ok());
  CopyFile(server);
  LeaveCompleted(*store, "new");
  KillAndGoBack(server, server.File("copy"));
  ExpectSyncFailsOnce(*store, "restart");
  EXPECT_EQ(store->traits().durability, Durability::kProcess);
}

TEST(RedisLoss, AnEmptiedServerIsNoticedByItsVeryNextCallAndTheNextSync) {
  RedisServer server;
  const auto store = MustOpen(WatchfulOptions(server.url()));
  LeaveCompleted(*store, "id");
  ASSERT_TRUE(store->claims()->Sync().ok());
  server.Ask({"FLUSHALL"});
  EXPECT_EQ(Ask(*store, "id"), ClaimVerdict::kFresh);
  EXPECT_EQ(store->traits().durability, Durability::kNothing);
  ExpectSyncFailsOnce(*store, "earlier state");
}

// Also without any inspection: the sync itself looks.
TEST(RedisLoss, ASyncFindsByItselfThatTheServerWasEmptied) {
  RedisServer server;
  const auto store = MustOpen({.url = server.url(), .inspection_interval = absl::Hours(1)});
  LeaveCompleted(*store, "id");
  ASSERT_TRUE(store->claims()->Sync().ok());
  server.Ask({"FLUSHALL"});
  ExpectSyncFailsOnce(*store, "earlier state");
  EXPECT_EQ(store->traits().durability, Durability::kNothing);
}

// The store speaks to whoever the proxy leads to; a replica may lag.
class Failover : public ::testing::Test {
 protected:
  Failover() {
    Follow();
    store_ = MustOpen(WatchfulOptions("unix:" + proxy_path_));
  }

  // A replica follows over TCP only.
  void Follow() {
    port_ = PortOf(master_);
    replica_.Ask({"REPLICAOF", "127.0.0.1", port_});
    AwaitThat([&] { return Holds(replica_, "master_link_status:up"); }, "the replica follows",
              kPatience);
  }
  static std::string PortOf(RedisServer& server) {
    for (int port = 20000 + getpid() % 20000;; ++port) {
      const std::string text = std::to_string(port);
      if (!server.Ask({"CONFIG", "SET", "port", text}).is_error()) return text;
    }
  }
  void AwaitCaughtUp() {
    const Reply written = master_.Ask({"SET", "mark", std::to_string(++marks_)});
    EXPECT_FALSE(written.is_error()) << written.text;
    AwaitThat(
        [&] {
          return replica_.Ask({"GET", "mark"}).text == std::to_string(marks_);
        },
        "the replica catches up", kPatience);
  }
  // The replica hears nothing more, and becomes the master.
  void Promote() {
    EXPECT_FALSE(replica_.Ask({"REPLICAOF", "NO", "ONE"}).is_error());
    proxy_.LeadTo(replica_.socket_path());
  }

  // A replica that has just come gets its data at once.
  RedisServer master_{{"repl-diskless-sync-delay 0"}};
  RedisServer replica_;
  std::string port_;
  int marks_ = 0;
  const std::string proxy_path_ = master_.File("p");
  testing::CutProxy proxy_{proxy_path_, master_.socket_path()};
  std::shared_ptr<DedupStore> store_;
};

// Consumers that share one opened store each say and sync on a thread of their own.
TEST(RedisLoss, EveryThreadWithWordsFromBeforeIsTold) {
  RedisServer server;
  const auto store = MustOpen(WatchfulOptions(server.url()));
  std::promise<void> is_said;
  std::promise<void> is_restarted;
  absl::Status told;
  std::thread other([&] {
    LeaveCompleted(*store, "theirs");
    is_said.set_value();
    is_restarted.get_future().wait();
    told = store->claims()->Sync();
  });
  LeaveCompleted(*store, "mine");
  is_said.get_future().wait();
  server.Kill();
  server.Start();
  ExpectSyncFailsOnce(*store, "restart");
  is_restarted.set_value();
  other.join();
  EXPECT_TRUE(absl::IsUnavailable(told)) << told;

  absl::Status later;
  std::thread newcomer([&] {
    LeaveCompleted(*store, "of another");
    later = store->claims()->Sync();
  });
  newcomer.join();
  EXPECT_TRUE(later.ok()) << later;
}

TEST(RedisLoss, WhatASyncHadPromisedIsMissedByEveryThreadThatSyncedIt) {
  RedisServer server;
  const auto store = MustOpen(WatchfulOptions(server.url()));
  std::promise<void> is_synced;
  std::promise<void> is_emptied;
  absl::Status told;
  std::thread other([&] {
    LeaveCompleted(*store, "theirs");
    EXPECT_TRUE(store->claims()->Sync().ok());
    is_synced.set_value();
    is_emptied.get_future().wait();
    told = store->claims()->Sync();
  });
  is_synced.get_future().wait();
  LeaveCompleted(*store, "mine");
  EXPECT_TRUE(store->claims()->Sync().ok());
  server.Ask({"FLUSHALL"});
  ExpectSyncFailsOnce(*store, "earlier state");
  is_emptied.set_value();
  other.join();
  EXPECT_TRUE(absl::IsUnavailable(told)) << told;
}

TEST_F(Failover, AServerWithReplicasIsNotTrustedWithTheLastWords) {
  EXPECT_EQ(store_->traits().durability, Durability::kProcess);
  EXPECT_THAT(store_->traits().weakness, HasSubstr("replicas"));
}

TEST_F(Failover, AReplicaThatLaggedFailsTheNextSyncAndLowersTheGuarantee) {
  LeaveCompleted(*store_, "old");
  ASSERT_TRUE(store_->claims()->Sync().ok());
  AwaitCaughtUp();
  // Cut off, it does not hear of what comes now.
  replica_.Ask({"REPLICAOF", "127.0.0.1", "1"});
  LeaveCompleted(*store_, "new");
  Promote();
  EXPECT_EQ(Ask(*store_, "new"), ClaimVerdict::kFresh);
  EXPECT_EQ(store_->traits().durability, Durability::kNothing);
  EXPECT_THAT(store_->traits().weakness, HasSubstr("failover"));
  ExpectSyncFailsOnce(*store_, "failover");
  EXPECT_EQ(Ask(*store_, "old"), ClaimVerdict::kDuplicate);
}

TEST_F(Failover, AReplicaThatHadHeardAllIsAFailoverAllTheSame) {
  LeaveCompleted(*store_, "id");
  ASSERT_TRUE(store_->claims()->Sync().ok());
  AwaitCaughtUp();
  Promote();
  EXPECT_TRUE(store_->claims()->Sync().ok()) << "nothing was unsynced";
  EXPECT_EQ(store_->traits().durability, Durability::kNothing);
  EXPECT_EQ(Ask(*store_, "id"), ClaimVerdict::kDuplicate);
}

TEST_F(Failover, AMasterThatBecameAReplicaIsNotWorkedOn) {
  EXPECT_FALSE(master_.Ask({"REPLICAOF", "127.0.0.1", "1"}).is_error());
  const auto claimed = testing::TryClaim(*store_, "id");
  EXPECT_TRUE(absl::IsUnavailable(claimed.status())) << claimed.status();
  EXPECT_THAT(claimed.status().ToString(), HasSubstr("replica"));
}

TEST(RedisWatch, AFirstReplicaIsNoFailoverButIsNoted) {
  RedisServer server({"repl-diskless-sync-delay 0"});
  RedisServer replica;
  const auto store = MustOpen(WatchfulOptions(server.url()));
  EXPECT_EQ(store->traits().durability, Durability::kMachine);
  LeaveCompleted(*store, "id");
  int port = 20000 + getpid() % 20000;
  while (server.Ask({"CONFIG", "SET", "port", std::to_string(port)}).is_error()) ++port;
  replica.Ask({"REPLICAOF", "127.0.0.1", std::to_string(port)});
  AwaitThat([&] { return Holds(server, "connected_slaves:1"); }, "the replica arrives", kPatience);
  EXPECT_EQ(Ask(*store, "id"), ClaimVerdict::kDuplicate);
  EXPECT_EQ(store->traits().durability, Durability::kProcess);
  EXPECT_TRUE(store->claims()->Sync().ok());
}

// The witness moves between the look at it and the judgement.
TEST(RedisWatch, InspectionsBesideSyncsFindNothingLost) {
  RedisServer server({"appendfsync no"});
  const auto store = MustOpen(WatchfulOptions(server.url()));
  std::atomic<int> failed = 0;
  {
    std::vector<std::jthread> threads;
    for (int number = 0; number < 4; ++number) {
      threads.emplace_back([&, number] {
        for (int i = 0; i < 300; ++i) {
          const bool is_ok = number == 0 ? store->claims()->Sync().ok()
                                         : testing::TryClaim(*store, absl::StrCat(i)).ok();
          failed += is_ok ? 0 : 1;
        }
      });
    }
  }
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(store->traits().durability, Durability::kProcess);
}

TEST(RedisWatch, ASettingThatIsLoweredLowersTheGuaranteeAndNeverRaisesItAgain) {
  RedisServer server;
  const auto store = MustOpen(WatchfulOptions(server.url()));
  EXPECT_EQ(store->traits().durability, Durability::kMachine);
  server.Ask({"CONFIG", "SET", "appendfsync", "everysec"});
  Ask(*store, "id");
  EXPECT_EQ(store->traits().durability, Durability::kProcess);
  server.Ask({"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"});
  Ask(*store, "id");
  EXPECT_EQ(store->traits().durability, Durability::kNothing);
  EXPECT_THAT(store->traits().weakness, HasSubstr("noeviction"));
  server.Ask({"CONFIG", "SET", "maxmemory-policy", "noeviction"});
  Ask(*store, "id");
  EXPECT_EQ(store->traits().durability, Durability::kNothing);
}

}  // namespace
}  // namespace once::redis
