// What stays of a dead letter in the file, and until when.
#include "adapters/sqlite/tests/store_scene.h"

namespace once::sqlite {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class SqliteLetters : public StoreScene {
 protected:
  void SetUp() override { MustOpen(); }

  static OutboxRow Letter(std::int64_t offset, const std::string& id) {
    return {.origin = {.key = Orders(), .offset = offset},
            .message = {.topic = "orders.dlq", .value = absl::StrCat(id, "@", offset)},
            .scope = "scope",
            .id = id};
  }

  // `id` fails for good in a transaction, at `offset`.
  void Fail(const std::string& id, std::int64_t offset) {
    const auto transaction = Begin();
    const OutboxRow letter = Letter(offset, id);
    const IdWrite dead{.key = {"scope", id}, .record = {.state = IdState::kDead, .attempt = 3}};
    ASSERT_TRUE(transaction->PutOutgoing({&letter, 1}).ok());
    ASSERT_TRUE(transaction->PutIds({&dead, 1}).ok());
    ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  }
  void Publish() {
    Outbox& outbox = transactions().outbox();
    const auto pending = outbox.FindPending(100);
    ASSERT_TRUE(pending.ok()) << pending.status();
    for (const PendingRow& row : *pending) {
      ASSERT_TRUE(outbox.MarkPublished({&row.sequence, 1}).ok());
    }
  }
  std::vector<std::string> Payloads() {
    return OwnConnection(path())
        .Run("SELECT sequence FROM once_outbox WHERE payload IS NOT NULL ORDER BY 1")
        .rows;
  }
  std::vector<StoredFailure> Failures() {
    auto found = store_->operations()->FindFailures({});
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() ? *std::move(found) : std::vector<StoredFailure>();
  }
  Claim MustClaim(std::string_view id) {
    ClaimStore& claims = *store_->claims();
    const ClaimRequest request{.key = {"scope", id}, .fence = claims.NewFence()};
    ClaimResult result;
    EXPECT_TRUE(claims.TryClaim({&request, 1}, absl::Minutes(1), {&result, 1}).ok());
    EXPECT_TRUE(result.verdict == ClaimVerdict::kFresh || result.verdict == ClaimVerdict::kPublish);
    return {.key = request.key, .fence = request.fence};
  }
  template <typename C>
  void MustDo(absl::Status (ClaimStore::*call)(std::span<const C>, std::span<absl::Status>),
              const C& claim) {
    absl::Status outcome = absl::InternalError("not answered");
    const absl::Status called = (store_->claims()->*call)({&claim, 1}, {&outcome, 1});
    EXPECT_TRUE(called.ok() && outcome.ok()) << called << outcome;
  }
};

TEST_F(SqliteLetters, APublishedLetterKeepsItsPayloadAndOtherRowsDoNot) {
  Fail("id", 1);
  const auto transaction = Begin();
  OutboxRow own = Letter(1, "");
  own.origin.ordinal = 1;
  ASSERT_TRUE(transaction->PutOutgoing({&own, 1}).ok());
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  EXPECT_THAT(Payloads(), ElementsAre("1", "2"));
  Publish();
  EXPECT_THAT(Payloads(), ElementsAre("1"));
  MustOpen();
  ASSERT_THAT(Failures(), SizeIs(1));
  EXPECT_EQ(Failures()[0].letter.value, "id@1");
}

TEST_F(SqliteLetters, ANewerLetterOfTheIdTakesTheOldersPlaceOnceThatIsPublished) {
  Fail("id", 1);
  Fail("other", 2);
  Fail("id", 3);
  EXPECT_THAT(Payloads(), ElementsAre("1", "2", "3")) << "the relay still needs the first";
  ASSERT_THAT(Failures(), SizeIs(2));
  EXPECT_EQ(transactions().outbox().CountPending().value(), 3u);
  Publish();
  EXPECT_THAT(Payloads(), ElementsAre("2", "3"));
}

TEST_F(SqliteLetters, AMessageThatCompletesAfterItsRedriveNeedsItsLetterNoLonger) {
  Fail("in a transaction", 1);
  Fail("under a claim", 2);
  Publish();
  for (const StoredFailure& failure : Failures()) {
    const OutboxRow redriven{.message = {.topic = "orders", .value = failure.letter.value}};
    const absl::Status sent =
        store_->operations()->Redrive({.number = failure.number, .row = redriven});
    ASSERT_TRUE(sent.ok()) << sent;
  }
  Publish();
  EXPECT_THAT(Payloads(), ElementsAre("1", "2"));
  MustOpen();
  ASSERT_TRUE(Complete(*Begin(), "in a transaction").ok());
  EXPECT_THAT(Payloads(), ElementsAre("1", "2")) << "it was rolled back";
  const auto transaction = Begin();
  ASSERT_TRUE(Complete(*transaction, "in a transaction").ok());
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  EXPECT_THAT(Payloads(), ElementsAre("2"));
  MustDo(&ClaimStore::Complete, CompletedClaim{.claim = MustClaim("under a claim")});
  EXPECT_THAT(Payloads(), IsEmpty());
  EXPECT_THAT(Failures(), IsEmpty());
}

TEST_F(SqliteLetters, ARedriveThatIsReplayedByTheOriginWritesNoLetterTwiceAndLosesNone) {
  // Under a claim the letter is the owner's to publish, so it may be held anew for the same origin:
  // the first one was let go of when its message completed in another life of the topic.
  const OutboxRow letter = Letter(7, "id");
  Claim claim = MustClaim("id");
  MustDo(&ClaimStore::Dying, DyingClaim{.claim = claim, .attempt = 1, .letter = &letter});
  MustDo(&ClaimStore::Kill, claim);
  ASSERT_TRUE(store_->operations()->Discard({"scope", "id"}).ok());
  EXPECT_THAT(Payloads(), IsEmpty());
  const auto transaction = Begin();
  const IdWrite forget{.key = {"scope", "id"}, .record = {.state = IdState::kAbsent}};
  ASSERT_TRUE(transaction->PutIds({&forget, 1}).ok());
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());

  claim = MustClaim("id");
  MustDo(&ClaimStore::Dying, DyingClaim{.claim = claim, .attempt = 1, .letter = &letter});
  ASSERT_THAT(Failures(), SizeIs(1));
  EXPECT_FALSE(Failures()[0].is_published);
  EXPECT_EQ(Failures()[0].state, IdState::kDying);
  MustDo(&ClaimStore::Kill, claim);
  EXPECT_TRUE(Failures()[0].is_published);
  EXPECT_EQ(transactions().outbox().CountPending().value(), 0u) << "no relay sees it";
}

TEST_F(SqliteLetters, ADamagedLetterIsDataLoss) {
  Fail("id", 1);
  ASSERT_EQ(OwnConnection(path()).Run("UPDATE once_outbox SET payload = x'00'").code, SQLITE_OK);
  EXPECT_THAT(store_->operations()->FindFailures({}).status(),
              Says(absl::StatusCode::kDataLoss, "outbox row 1"));
}

TEST_F(SqliteLetters, ADirectiveThatNobodyWroteIsDataLoss) {
  const TakeRequest take{.key = Orders(), .writer = 1};
  ASSERT_TRUE(transactions().Take({&take, 1}).ok());
  ASSERT_EQ(OwnConnection(path()).Run("UPDATE once_positions SET directive = 9").code, SQLITE_OK);
  EXPECT_THAT(transactions().Take({&take, 1}).status(),
              Says(absl::StatusCode::kDataLoss, "unknown directive 9"));
  EXPECT_THAT(store_->operations()->ListPositions().status(),
              Says(absl::StatusCode::kDataLoss, "unknown directive 9"));
}

}  // namespace
}  // namespace once::sqlite
