// A shared spool whose slot moves while it is read, while it is written, and while replicas are
// waited for.
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "adapters/redis/outgoing_rows.h"
#include "adapters/redis/outgoing_scripts.h"
#include "adapters/redis/slots.h"
#include "adapters/redis/tests/cut_proxy.h"
#include "adapters/redis/tests/loss_words.h"
#include "adapters/redis/tests/redis_cluster.h"
#include "adapters/redis/tests/spool_words.h"
#include "once/redis/spool.h"

namespace once::redis {
namespace {

using testing::AppendTo;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::MustOpenSpool;
using ::testing::SizeIs;

const SpoolKeys& Keys() {
  static const auto* const keys = new SpoolKeys("once-spool:");
  return *keys;
}
int Slot() { return SlotOf(Keys().OfSpool()); }

// Two masters, each behind a proxy by which the spool reaches it.
class RedisSpoolMoving : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int node = 0; node < cluster_.size(); ++node) {
      proxies_[static_cast<std::size_t>(node)]->LeadTo(cluster_.node(node).socket_path());
    }
    log_ = Open();
    ASSERT_NE(log_, nullptr);
  }

  std::shared_ptr<SpoolLog> Open() const {
    return MustOpenSpool({.server = {.url = absl::StrCat("redis://127.0.0.1:", ports_[0]),
                                     .call_timeout = absl::Seconds(20)}});
  }
  OutgoingLog& log() { return log_->outgoing(); }

  // With the next answer to `word` the slot is the other master's, all of it.
  void MoveBeforeAnswer(const std::string& word) {
    const int from = owner_;
    owner_ = 1 - owner_;
    proxies_[static_cast<std::size_t>(from)]->BeforeAnswer(word, [this, from] {
      cluster_.BeginMove(Slot(), from, 1 - from);
      while (cluster_.MoveKey(Slot(), from, 1 - from)) {
      }
      cluster_.EndMove(Slot(), 1 - from);
      ++moves_;
    });
  }

  using Proxies = std::vector<std::unique_ptr<testing::CutProxy>>;
  static Proxies MakeProxies(const std::vector<int>& ports) {
    Proxies proxies;
    for (const int port : ports) {
      proxies.push_back(std::make_unique<testing::CutProxy>(std::to_string(port), "/nowhere"));
    }
    return proxies;
  }

  const std::vector<int> ports_ = {testing::FindPort(), testing::FindPort()};
  // Before there are masters, so that nobody else takes the ports.
  const Proxies proxies_ = MakeProxies(ports_);
  testing::RedisCluster cluster_{{.masters = 2, .announced_ports = ports_}};
  int owner_ = cluster_.FirstOwnerOf(Keys().OfSpool());
  std::atomic<int> moves_ = 0;
  std::shared_ptr<SpoolLog> log_;
};

// A place within a hash is of one server's table, and means nothing to another one.
TEST_F(RedisSpoolMoving, StreamsAndVoidsAreAllReadThoughTheirSlotMovesMeanwhile) {
  constexpr std::size_t kStreams = 3'000;
  std::vector<StreamProgress> streams;
  std::vector<OwedVoid> owed;
  for (std::int32_t partition = 0; streams.size() < kStreams; ++partition) {
    streams.push_back({.epoch = 7, .topic = "orders", .partition = partition, .last = 1});
    owed.push_back({.epoch = 7, .topic = "orders", .partition = partition, .sequence = 2});
  }
  ASSERT_TRUE(log().Advance({.owed = owed, .streams = streams}).ok());
  MoveBeforeAnswer("HSCAN");
  const auto told = log().ListStreams();
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_EQ(told->size(), kStreams);
  EXPECT_EQ(moves_, 1);
  MoveBeforeAnswer("HSCAN");
  EXPECT_EQ(log().ListOwed().value().size(), kStreams);
  EXPECT_EQ(moves_, 2);
}

// What a relay does not know of, it would never publish.
TEST_F(RedisSpoolMoving, ALaneIsReadWholeThoughItsSlotMovesMeanwhile) {
  constexpr std::size_t kRows = 1'500;
  const std::vector<OutgoingMessage> messages(kRows, testing::MessageOf("v"));
  ASSERT_TRUE(AppendTo(*log_, 1, messages).ok());
  ASSERT_THAT(log().HoldLanes().value(), SizeIs(kLanes));
  constexpr OutgoingLog::Bound kAll = {.rows_max = 2 * kRows, .bytes_max = 10'000'000};
  const int lane = LaneOf(log().ListWaiting(0, 1).value().at(0).number);
  const auto first = log().FindUnplaced(lane, {.rows_max = 1, .bytes_max = 1});
  ASSERT_TRUE(first.ok() && first->size() == 1) << first.status();
  // All that is behind it waits.
  const RefusedRow refused{.number = first->at(0).number, .reason = absl::AbortedError("large")};
  ASSERT_TRUE(log().Advance({.refused = {&refused, 1}}).ok());
  ASSERT_THAT(log().FindUnplaced(lane, kAll).value(), SizeIs(0));
  ASSERT_TRUE(log().Unpark(refused.number).ok());
  log().GiveUpLanes(log().HoldLanes().value());
  const auto other = Open();
  ASSERT_NE(other, nullptr);
  ASSERT_THAT(other->outgoing().HoldLanes().value(), SizeIs(kLanes));
  MoveBeforeAnswer(ScriptsOfOutgoing().facts.sha1);
  const auto rows = other->outgoing().FindUnplaced(lane, kAll);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(moves_, 1);
  EXPECT_EQ(rows->size(), kRows);
}

// While a slot moves nothing can be asked of a key that is not there, not even of one that has just
// gone.
TEST_F(RedisSpoolMoving, AHashThatIsEmptiedMeanwhileEndsNothingHalfWay) {
  ASSERT_TRUE(AppendTo(*log_, 1, "1").ok());
  ASSERT_THAT(log().HoldLanes().value(), SizeIs(kLanes));
  const int lane = LaneOf(log().ListWaiting(0, 1).value().at(0).number);
  const auto rows = log().FindUnplaced(lane, {.rows_max = 1, .bytes_max = 1'000});
  ASSERT_TRUE(rows.ok() && rows->size() == 1) << rows.status();
  OutgoingRound round{
      .lane = lane, .epoch = 7, .placements = {{.number = rows->at(0).number, .sequence = 1}}};
  const StreamProgress stream{.epoch = 7, .topic = "orders", .partition = 0, .last = 1};
  const OwedVoid owed{.epoch = 7, .topic = "orders", .partition = 0, .sequence = 2};
  ASSERT_TRUE(
      log().Advance({.placed = {&round, 1}, .owed = {&owed, 1}, .streams = {&stream, 1}}).ok());
  cluster_.BeginMove(Slot(), owner_, 1 - owner_);
  OwedVoid declared[] = {owed, owed};
  declared[1].sequence = 3;
  const absl::Status done = log().Advance({.declared = declared});
  EXPECT_TRUE(done.ok()) << done;
  EXPECT_THAT(log().ListOwed().value(), SizeIs(0));
}

// Of rows that lie with another master its replicas must have heard, whatever those of the former
// one say.
TEST(RedisSpoolReplicas, WhileASlotMovesNoReplicaOfItsFormerMasterIsAWitness) {
  testing::RedisCluster cluster({.masters = 2, .has_replicas = true});
  const auto log = MustOpenSpool(
      {.server = {.url = cluster.url(), .call_timeout = absl::Seconds(2)}, .replicas_min = 1});
  ASSERT_NE(log, nullptr);
  const absl::Status appended = AppendTo(*log, 1, "1");
  ASSERT_TRUE(appended.ok()) << appended;
  const int from = cluster.FirstOwnerOf(Keys().OfSpool());
  const int to = 1 - from;
  const testing::RedisServer& deaf = cluster.node(2 + to);
  deaf.Stop();
  cluster.BeginMove(Slot(), from, to);
  const Reply keys =
      cluster.node(from).Ask({"CLUSTER", "GETKEYSINSLOT", absl::StrCat(Slot()), "100"});
  int moved = 0;
  for (const Reply& key : keys.elements) {
    if (key.text.find(":rows:") == std::string::npos) continue;
    const Reply migrated = cluster.node(from).Ask(
        {"MIGRATE", "127.0.0.1", absl::StrCat(cluster.port(to)), key.text, "0", "10000"});
    ASSERT_FALSE(migrated.is_error()) << migrated.text;
    ++moved;
  }
  ASSERT_EQ(moved, 1);
  const auto during = log->Resolve(1);
  EXPECT_TRUE(absl::IsUnknown(during.status())) << during.status();
  while (cluster.MoveKey(Slot(), from, to)) {
  }
  cluster.EndMove(Slot(), to);
  const auto unheard = log->Resolve(1);
  EXPECT_TRUE(absl::IsUnknown(unheard.status())) << unheard.status();
  EXPECT_THAT(unheard.status().ToString(), HasSubstr("replicas_min"));
  deaf.Continue();
  testing::AwaitThat([&] { return log->Resolve(1).ok(); }, "its replica hears of it",
                     std::chrono::seconds(30));
  EXPECT_EQ(log->Resolve(1).value(), true);
  EXPECT_THAT(testing::WaitingIn(*log), ElementsAre("1"));
}

}  // namespace
}  // namespace once::redis
