// What an operator finds and decides in a Redis claim store, and what it is told where there is
// nothing to decide about.
#include <atomic>
#include <stop_token>
#include <thread>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "adapters/redis/keys.h"
#include "adapters/redis/scope_book.h"
#include "adapters/redis/tests/claim_words.h"
#include "adapters/redis/tests/cut_proxy.h"
#include "adapters/redis/tests/redis_server.h"
#include "once/redis/store.h"

namespace once::redis {
namespace {

using ::testing::AllOf;
using testing::Ask;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::LeaveCompleted;
using testing::MustOpen;
using testing::NewPrefix;
using testing::Owner;
using testing::RedisServer;
using testing::SharedServer;
using ::testing::SizeIs;
using testing::TryClaim;

constexpr IdKey KeyOf(std::string_view id) { return {.scope = "scope", .id = id}; }

class RedisOperators : public ::testing::Test {
 protected:
  ClaimStore& claims() { return *store_->claims(); }
  StoreOperations& operations() { return *store_->operations(); }

  Owner MustClaim(const std::string& id, absl::Duration lease = absl::Hours(1)) {
    const absl::StatusOr<Owner> owner = TryClaim(*store_, id, lease);
    EXPECT_TRUE(owner.ok()) << owner.status();
    return owner.value_or(Owner{});
  }
  void Dying(const Owner& owner, Disposition disposition) {
    absl::Status outcome;
    const DyingClaim dying{.claim = owner.claim(), .disposition = disposition, .attempt = 3};
    EXPECT_TRUE(claims().Dying({&dying, 1}, {&outcome, 1}).ok());
    EXPECT_TRUE(outcome.ok()) << outcome;
  }
  // Of the call, or of the claim.
  absl::Status Kill(const Owner& owner) {
    const Claim claim = owner.claim();
    absl::Status outcome;
    absl::Status call = claims().Kill({&claim, 1}, {&outcome, 1});
    return call.ok() ? outcome : call;
  }
  void LeaveDead(const std::string& id, Disposition disposition = Disposition::kRejected) {
    const Owner owner = MustClaim(id);
    Dying(owner, disposition);
    EXPECT_TRUE(Kill(owner).ok());
  }
  void LeaveRetrying(const std::string& id) {
    const FailedClaim failed{.claim = MustClaim(id).claim(), .delay = absl::Hours(1)};
    absl::Status outcome;
    // The claim's views are of an owner that is gone by now; they name what `id` names.
    const FailedClaim named{.claim = {.key = KeyOf(id), .fence = failed.claim.fence},
                            .delay = failed.delay};
    EXPECT_TRUE(claims().Fail({&named, 1}, {&outcome, 1}).ok());
    EXPECT_TRUE(outcome.ok()) << outcome;
  }
  IdRecord RecordOf(const std::string& id) {
    const auto found = operations().FindId(id);
    EXPECT_TRUE(found.ok()) << found.status();
    if (!found.ok() || found->empty()) return {};
    EXPECT_THAT(*found, SizeIs(1));
    return found->front().record;
  }
  absl::Status Redrive(const std::string& id) {
    return operations().Redrive({.row = {.scope = "scope", .id = id}});
  }
  static void ExpectRefusal(const absl::Status& refused, const char* state) {
    EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
    EXPECT_THAT(refused.ToString(), HasSubstr(absl::StrCat("the id is ", state)));
  }

  const std::string prefix_ = NewPrefix();
  absl::Duration skew_;
  const std::shared_ptr<DedupStore> store_ = MustOpen(
      {.url = SharedServer().url(), .key_prefix = prefix_, .clock_skew = [this] { return skew_; }});
};

TEST_F(RedisOperators, AnIdIsFoundAsOthersSeeIt) {
  EXPECT_THAT(operations().FindId("nobody").value(), IsEmpty());
  LeaveCompleted(*store_, "done");
  LeaveDead("dead");
  LeaveDead("unsure", Disposition::kUncertain);
  LeaveRetrying("waiting");
  MustClaim("held");
  Dying(MustClaim("dying"), Disposition::kRejected);
  EXPECT_EQ(RecordOf("done").state, IdState::kCompleted);
  EXPECT_EQ(RecordOf("dead").state, IdState::kDead);
  EXPECT_EQ(RecordOf("dead").attempt, 3);
  EXPECT_EQ(RecordOf("unsure").state, IdState::kUncertain);
  EXPECT_EQ(RecordOf("waiting").state, IdState::kRetrying);
  EXPECT_GT(RecordOf("waiting").not_before, absl::Now() + absl::Minutes(50));
  EXPECT_EQ(RecordOf("held").state, IdState::kClaimed);
  EXPECT_EQ(RecordOf("held").fingerprint, (Fingerprint{.high = 1, .low = 2}));
  EXPECT_EQ(RecordOf("dying").state, IdState::kDying);
}

// A claim that nobody reported on has failed once its lease is over; one that never began is gone.
TEST_F(RedisOperators, AClaimThatIsOverIsSeenAsWhatItLeaves) {
  const Owner begun = MustClaim("begun", absl::Minutes(1));
  const Owner idle = MustClaim("idle", absl::Minutes(1));
  absl::Status outcome;
  const Claim claim = begun.claim();
  ASSERT_TRUE(claims().Begun({&claim, 1}, {&outcome, 1}).ok());
  skew_ = absl::Minutes(2);
  EXPECT_EQ(RecordOf("begun").state, IdState::kRetrying);
  EXPECT_EQ(RecordOf("begun").attempt, 1);
  EXPECT_THAT(operations().FindId("idle").value(), IsEmpty());
}

TEST_F(RedisOperators, AnIdIsFoundUnderEveryScope) {
  const std::vector<std::string> scopes = {"one", std::string("t\0wo*", 5), ""};
  for (const std::string& scope : scopes) {
    const ClaimRequest request{.key = {.scope = scope, .id = "id"}, .fence = claims().NewFence()};
    ClaimResult result;
    ASSERT_TRUE(claims().TryClaim({&request, 1}, absl::Hours(1), {&result, 1}).ok());
  }
  const auto found = operations().FindId("id");
  ASSERT_TRUE(found.ok()) << found.status();
  std::vector<std::string> known;
  for (const StoreOperations::FoundId& each : *found) known.push_back(each.scope);
  EXPECT_THAT(known, ::testing::UnorderedElementsAreArray(scopes));
}

// A server that lost the scopes, and scopes that are too many or too long to be noted.
TEST_F(RedisOperators, AnIdIsFoundWithoutItsScopeBeingNoted) {
  const std::string star = "a*[b]?\\";
  LeaveDead(star);
  LeaveDead("a-something-[b]?\\");
  SharedServer().Ask({"DEL", KeyNames(prefix_).OfScopes()});
  EXPECT_EQ(RecordOf(star).state, IdState::kDead);
  const std::string scope(kNotedScopeBytesMax + 1, 's');
  const ClaimRequest request{.key = {.scope = scope, .id = "long"}, .fence = claims().NewFence()};
  ClaimResult result;
  ASSERT_TRUE(claims().TryClaim({&request, 1}, absl::Hours(1), {&result, 1}).ok());
  const auto found = operations().FindId("long");
  ASSERT_TRUE(found.ok() && found->size() == 1) << found.status();
  EXPECT_EQ(found->front().scope, scope);
}

TEST_F(RedisOperators, ScopesAreNotedAgainAfterTheServerWasEmptied) {
  RedisServer server;
  const auto store = MustOpen(testing::WatchfulOptions(server.url()));
  LeaveCompleted(*store, "before");
  ASSERT_TRUE(store->claims()->Sync().ok());
  server.Ask({"FLUSHALL"});
  EXPECT_TRUE(absl::IsUnavailable(store->claims()->Sync()));
  LeaveCompleted(*store, "after");
  EXPECT_THAT(server.Ask({"SMEMBERS", KeyNames("once:").OfScopes()}).elements, SizeIs(1));
}

TEST_F(RedisOperators, ManyScopesAreNotedUpToABound) {
  RedisServer server({"appendonly no"});
  const auto store = MustOpen({.url = server.url()});
  for (std::size_t i = 0; i < kNotedScopesMax + 3; ++i) {
    const std::string scope = absl::StrCat("scope ", i);
    const ClaimRequest request{.key = {.scope = scope, .id = "id"},
                               .fence = store->claims()->NewFence()};
    ClaimResult result;
    ASSERT_TRUE(store->claims()->TryClaim({&request, 1}, absl::Hours(1), {&result, 1}).ok());
  }
  const Reply count = server.Ask({"SCARD", KeyNames("once:").OfScopes()});
  EXPECT_EQ(count.integer, static_cast<std::int64_t>(kNotedScopesMax));
}

TEST_F(RedisOperators, WhatIsRedrivenBeginsAnewUnderItsFingerprint) {
  for (const std::string id : {"dead", "unsure"}) {
    LeaveDead(id, id == "dead" ? Disposition::kRejected : Disposition::kUncertain);
    ASSERT_TRUE(Redrive(id).ok());
    EXPECT_EQ(RecordOf(id).state, IdState::kRetrying);
    EXPECT_EQ(RecordOf(id).attempt, 0);
    const ClaimRequest other{
        .key = KeyOf(id), .fingerprint = {.high = 3, .low = 4}, .fence = claims().NewFence()};
    ClaimResult result;
    ASSERT_TRUE(claims().TryClaim({&other, 1}, absl::Hours(1), {&result, 1}).ok());
    EXPECT_EQ(result.verdict, ClaimVerdict::kConflict) << "another value is no redrive of it";
    const Owner owner = MustClaim(id);
    EXPECT_EQ(owner.result.verdict, ClaimVerdict::kFresh);
    EXPECT_EQ(owner.result.attempt, 1);
    EXPECT_TRUE(testing::Complete(*store_, owner).ok());
    EXPECT_EQ(Ask(*store_, id), ClaimVerdict::kDuplicate);
  }
}

TEST_F(RedisOperators, WhatIsDiscardedIsNeverHandled) {
  LeaveDead("dead");
  LeaveDead("unsure", Disposition::kUncertain);
  LeaveRetrying("waiting");
  const Owner dying = MustClaim("dying");
  Dying(dying, Disposition::kRejected);
  for (const std::string id : {"dead", "unsure", "waiting", "dying"}) {
    const absl::Status discarded = operations().Discard(KeyOf(id));
    EXPECT_TRUE(discarded.ok()) << discarded;
    EXPECT_EQ(Ask(*store_, id), ClaimVerdict::kDiscarded);
  }
  EXPECT_TRUE(absl::IsAborted(Kill(dying))) << "its owner publishes no letter any more";
}

TEST_F(RedisOperators, WhatIsResolvedHasHappened) {
  LeaveDead("unsure", Disposition::kUncertain);
  ASSERT_TRUE(operations().Resolve(KeyOf("unsure")).ok());
  EXPECT_EQ(Ask(*store_, "unsure"), ClaimVerdict::kDuplicate);
}

TEST_F(RedisOperators, TheStateOfAnIdPermitsOrNames) {
  LeaveCompleted(*store_, "done");
  MustClaim("held");
  LeaveDead("dead");
  LeaveRetrying("waiting");
  for (const auto& [id, state] : {std::pair("done", "completed"), std::pair("held", "claimed")}) {
    ExpectRefusal(Redrive(id), state);
    ExpectRefusal(operations().Discard(KeyOf(id)), state);
    ExpectRefusal(operations().Resolve(KeyOf(id)), state);
  }
  ExpectRefusal(operations().Resolve(KeyOf("dead")), "dead");
  ExpectRefusal(Redrive("waiting"), "retrying");
  EXPECT_TRUE(absl::IsNotFound(Redrive("nobody")));
  EXPECT_TRUE(absl::IsNotFound(operations().Discard(KeyOf("nobody"))));
  EXPECT_TRUE(absl::IsNotFound(operations().Resolve({.scope = "elsewhere", .id = "dead"})));
  EXPECT_EQ(RecordOf("held").state, IdState::kClaimed) << "a refusal changes nothing";
  EXPECT_EQ(RecordOf("dead").state, IdState::kDead);
}

// Of two who want the same id, an operator and a claimer, the server hears one first.
TEST_F(RedisOperators, ARedriveDoesNotTakeAClaimAway) {
  LeaveDead("id");
  ASSERT_TRUE(Redrive("id").ok());
  const Owner owner = MustClaim("id");
  ExpectRefusal(Redrive("id"), "claimed");
  EXPECT_TRUE(testing::Complete(*store_, owner).ok());
}

TEST_F(RedisOperators, WhatIsSettledIsForgottenAfterTheRetention) {
  const std::string prefix = NewPrefix();
  const auto store =
      MustOpen({.url = SharedServer().url(), .key_prefix = prefix, .retention = absl::Hours(1)});
  const absl::StatusOr<Owner> owner = TryClaim(*store, "id");
  ASSERT_TRUE(owner.ok());
  const Claim claim = owner->claim();
  absl::Status outcome;
  const DyingClaim dying{.claim = claim, .disposition = Disposition::kUncertain, .attempt = 1};
  ASSERT_TRUE(store->claims()->Dying({&dying, 1}, {&outcome, 1}).ok());
  ASSERT_TRUE(store->claims()->Kill({&claim, 1}, {&outcome, 1}).ok());
  const std::string key = KeyNames(prefix).OfId(KeyOf("id"));
  EXPECT_EQ(SharedServer().Ask({"PTTL", key}).integer, -1) << "what is open is kept";
  ASSERT_TRUE(store->operations()->Resolve(KeyOf("id")).ok());
  EXPECT_GT(SharedServer().Ask({"PTTL", key}).integer, 0);
}

TEST_F(RedisOperators, WhatAClaimStoreHasNotIsRefusedWithTheWayOut) {
  const auto expect = [](const absl::Status& refused, const char* way_out) {
    EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented) << refused;
    EXPECT_THAT(refused.ToString(), HasSubstr(way_out));
  };
  expect(operations().ListPositions().status(), "committed offset");
  expect(operations().OrderPosition({.position = 1}), "committed offset");
  expect(operations().FindFailures({}).status(), "dead-letter topic");
  expect(operations().DropLetter(1), "dead-letter topic");
  expect(operations().Redrive({.number = 7, .row = {.scope = "scope", .id = "id"}}),
         "dead-letter topic");
}

TEST_F(RedisOperators, AServerThatIsGoneIsUnavailable) {
  RedisServer server;
  const auto store = MustOpen({.url = server.url(), .call_timeout = absl::Seconds(1)});
  server.Kill();
  EXPECT_TRUE(absl::IsUnavailable(store->operations()->FindId("id").status()));
  EXPECT_TRUE(absl::IsUnavailable(store->operations()->Discard(KeyOf("id"))));
}

// The operator looks, or says it again: it is decided once.
TEST_F(RedisOperators, ADecisionWhoseAnswerIsLostIsUnknown) {
  RedisServer server;
  testing::CutProxy proxy(server.File("p"), server.socket_path());
  const auto store = MustOpen({.url = "unix:" + server.File("p")});
  const std::string key = KeyNames("once:").OfId(KeyOf("id"));
  for (const testing::Cut cut : {testing::Cut::kUnheard, testing::Cut::kUnanswered}) {
    server.Ask({"HSET", key, "s", "3"});
    proxy.Arm(cut);
    const absl::Status first = store->operations()->Discard(KeyOf("id"));
    EXPECT_TRUE(absl::IsUnknown(first)) << first;
    const absl::Status second = store->operations()->Discard(KeyOf("id"));
    if (cut == testing::Cut::kUnheard) {
      EXPECT_TRUE(second.ok()) << second;
    } else {
      ExpectRefusal(second, "discarded");
    }
  }
}

// Of many who ask for what an operator lets run again, one gets it.
TEST_F(RedisOperators, WhatIsRedrivenIsGrantedOnceAmongManyWhoAsk) {
  constexpr int kRounds = 30;
  constexpr int kAskers = 4;
  std::atomic<int> round = -1;
  std::atomic<int> ready = 0;
  std::atomic<int> granted = 0;
  std::vector<std::jthread> askers;
  for (int i = 0; i < kAskers; ++i) {
    askers.emplace_back([&](const std::stop_token& stop) {
      for (int seen = -1; !stop.stop_requested();) {
        if (round == seen) {
          std::this_thread::yield();
          continue;
        }
        seen = round;
        if (Ask(*store_, absl::StrCat(seen)) == ClaimVerdict::kFresh) ++granted;
        ++ready;
      }
    });
  }
  for (int i = 0; i < kRounds; ++i) {
    const std::string id = absl::StrCat(i);
    LeaveDead(id);
    ready = 0;
    round = i;
    const absl::Status redriven = Redrive(id);
    EXPECT_TRUE(redriven.ok()) << redriven;
    while (ready < kAskers) std::this_thread::yield();
    const bool is_late = Ask(*store_, id) == ClaimVerdict::kFresh;
    EXPECT_EQ(granted.exchange(0) + (is_late ? 1 : 0), 1) << "round " << i;
  }
}

// Decisions free space, or take none.
TEST_F(RedisOperators, AFullServerTakesDecisions) {
  RedisServer server;
  const auto store = MustOpen({.url = server.url()});
  const absl::StatusOr<Owner> owner = TryClaim(*store, "id");
  ASSERT_TRUE(owner.ok());
  const Claim claim = owner->claim();
  const DyingClaim dying{.claim = claim, .attempt = 1};
  absl::Status outcome;
  ASSERT_TRUE(store->claims()->Dying({&dying, 1}, {&outcome, 1}).ok());
  ASSERT_TRUE(store->claims()->Kill({&claim, 1}, {&outcome, 1}).ok());
  server.Ask({"CONFIG", "SET", "maxmemory", "1"});
  EXPECT_TRUE(absl::IsResourceExhausted(TryClaim(*store, "other").status()));
  EXPECT_THAT(store->operations()->FindId("id").value(), SizeIs(1));
  EXPECT_TRUE(store->operations()->Redrive({.row = {.scope = "scope", .id = "id"}}).ok());
  EXPECT_TRUE(store->operations()->Discard(KeyOf("id")).ok());
}

}  // namespace
}  // namespace once::redis
