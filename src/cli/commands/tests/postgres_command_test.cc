// The `once` command on a PostgreSQL store, beside a process that has it open. Needs a server:
// ONCE_TEST_POSTGRES, which `./dev test` sets, and skips without one.
#include <chrono>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/schema.h"
#include "src/cli/exit_code.h"
#include "src/loss_notes.h"
#include "src/stream_state.h"
#include "src/stream_table.h"
#include "tests/once_command.h"

#ifdef ONCE_HAS_POSTGRES
#include "once/postgres/store.h"

namespace once::cli {
namespace {

using testing::CommandResult;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::RunOnce;

class StoreOnPostgres : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* const server = std::getenv("ONCE_TEST_POSTGRES");
    const char* const ci = std::getenv("CI");
    if (server == nullptr) {
      if (ci != nullptr && std::string_view(ci) == "true") FAIL() << "this is CI";
      GTEST_SKIP() << "ONCE_TEST_POSTGRES is not set; ./dev test starts a server";
    }
    auto store = postgres::OpenStore({.connection = server, .schema = schema_});
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    // "host=… dbname=… user=…" as parameters of a URL.
    url_ = absl::StrCat("postgresql:///?", server);
    for (char& byte : url_) {
      if (byte == ' ') byte = '&';
    }
    url_ += "#" + schema_;
  }
  void TearDown() override {
    if (store_ == nullptr) return;
    auto begun = store_->transactions()->Begin({});
    ASSERT_TRUE(begun.ok()) << begun.status();
    postgres::Connection connection(*begun->transaction);
    connection.Execute("DROP SCHEMA " + schema_ + " CASCADE").status().IgnoreError();
    begun->transaction->Commit(Durability::kMachine).IgnoreError();
  }

  const std::string schema_ = absl::StrCat("command_", std::random_device()());
  std::string url_;
  std::shared_ptr<DedupStore> store_;
};

TEST_F(StoreOnPostgres, IsSeenAndChangedBesideItsConsumers) {
  auto begun = store_->transactions()->Begin({});
  ASSERT_TRUE(begun.ok()) << begun.status();
  const IdWrite id{.key = {"scope", "order-7"}, .record = {.state = IdState::kDead, .attempt = 3}};
  const OutboxRow letter{
      .origin = {.key = {.cluster = "c", .group = "billing", .partition = {"orders", 0}},
                 .offset = 7},
      .message = {.topic = "orders.dlq", .value = "4711"},
      .scope = "scope",
      .id = "order-7"};
  ASSERT_TRUE(begun->transaction->PutIds({&id, 1}).ok());
  ASSERT_TRUE(begun->transaction->PutOutgoing({&letter, 1}).ok());
  ASSERT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());

  const CommandResult list = RunOnce({"failures", "list", "--json", "--store", url_});
  EXPECT_EQ(list.code, kDone) << list.errors;
  EXPECT_EQ(list.Json()["through"], "server");
  EXPECT_EQ(list.Json()["store"], "postgresql:///#" + schema_);
  ASSERT_EQ(list.Json()["failures"].size(), 1) << list.output;
  EXPECT_EQ(list.Json()["failures"][0]["id"], "order-7");
  const CommandResult discarded = RunOnce({"discard", "order-7", "--yes", "--store", url_});
  EXPECT_EQ(discarded.code, kDone) << discarded.errors;
  const auto found = store_->operations()->FindId("order-7");
  ASSERT_TRUE(found.ok() && found->size() == 1) << found.status();
  EXPECT_EQ(found->front().record.state, IdState::kDiscarded);
}

TEST_F(StoreOnPostgres, ShowsFiguresIsCheckedAndCompactedAndSaysHowItIsCopied) {
  auto begun = store_->transactions()->Begin({});
  ASSERT_TRUE(begun.ok()) << begun.status();
  const IdWrite id{.key = {"scope", "order-7"}, .record = {.state = IdState::kCompleted}};
  ASSERT_TRUE(begun->transaction->PutIds({&id, 1}).ok());
  ASSERT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());
  const CommandResult compacted = RunOnce({"store", "compact", "--json", "--store", url_});
  EXPECT_EQ(compacted.code, kDone) << compacted.errors;
  const CommandResult stats = RunOnce({"store", "stats", "--json", "--store", url_});
  EXPECT_EQ(stats.code, kDone) << stats.errors;
  EXPECT_EQ(stats.Json()["figures"]["ids_estimated_count"], 1);
  const CommandResult whole = RunOnce({"store", "verify", "--json", "--store", url_});
  EXPECT_EQ(whole.code, kDone) << whole.errors;
  EXPECT_TRUE(whole.Json()["findings"].empty());
  const CommandResult copied = RunOnce({"store", "backup", "/nowhere", "--store", url_});
  EXPECT_EQ(copied.code, kRefused);
  EXPECT_THAT(copied.errors, HasSubstr("pg_dump"));

  begun = store_->transactions()->Begin({});
  ASSERT_TRUE(begun.ok()) << begun.status();
  const auto damaged = postgres::Connection(*begun->transaction)
                           .Execute("UPDATE " + schema_ + ".known_ids SET state = 77");
  ASSERT_TRUE(damaged.ok()) << damaged.status();
  ASSERT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());
  const CommandResult broken = RunOnce({"store", "verify", "--json", "--store", url_});
  EXPECT_EQ(broken.code, kFoundProblems) << broken.errors;
  EXPECT_THAT(broken.output, HasSubstr("unknown state 77"));
}

// A consumer has partition 0 of orders, and the notes of a stream that lacks three messages.
class LossesOnPostgres : public StoreOnPostgres {
 protected:
  void SetUp() override {
    StoreOnPostgres::SetUp();
    if (store_ == nullptr) return;
    const TakeRequest request{.key = key_, .writer = 7};
    const auto taken = store_->transactions()->Take({&request, 1});
    ASSERT_TRUE(taken.ok()) << taken.status();
    expected_ = {.key = key_, .expected = taken->front().current};
    StreamState state(4);
    std::vector<StreamFinding> findings;
    (void)state.Receive(7, 0, 100, findings);
    state.ReportSeenUntil(0, findings);
    const std::string stream = PackStream({.producer = "shop-1", .epoch = 1});
    const std::string keys[] = {LossNoteKey(LossNoteKind::kHead, key_) + stream,
                                LossNoteKey(LossNoteKind::kLosses, key_) + stream,
                                LossNoteKey(LossNoteKind::kPartition, key_)};
    const std::string values[] = {state.EncodeHead(), state.EncodeLosses(),
                                  EncodeProgress({.position = 9, .missing = state.CountMissing()})};
    std::unique_ptr<StoreTransaction> begun = BeginOfConsumer();
    ASSERT_NE(begun, nullptr);
    for (int i = 0; i < 3; ++i) {
      const Note note{.key = keys[i], .value = values[i]};
      ASSERT_TRUE(begun->PutNotes({&note, 1}).ok());
    }
    Finish(*begun);
  }
  // Null: the row was taken from it.
  std::unique_ptr<StoreTransaction> BeginOfConsumer() {
    auto begun = store_->transactions()->Begin({&expected_, 1});
    EXPECT_TRUE(begun.ok()) << begun.status();
    return begun.ok() ? std::move(begun->transaction) : nullptr;
  }
  void Finish(StoreTransaction& transaction) {
    const PositionUpdate update{.key = key_, .position = 9, .reach = 9};
    ASSERT_TRUE(transaction.SetPositions({&update, 1}).ok());
    const absl::Status committed = transaction.Commit(Durability::kMachine);
    ASSERT_TRUE(committed.ok()) << committed;
    expected_.expected = {9, expected_.expected.revision + 1, expected_.expected.writer};
  }

  const PartitionKey key_ = {.cluster = "c", .group = "billing", .partition = {"orders", 0}};
  PositionLock expected_;
};

TEST_F(LossesOnPostgres, AreForgottenBesideTheConsumerThatKnowsOfThem) {
  const CommandResult missing = RunOnce({"loss", "report", "--json", "--store", url_});
  EXPECT_EQ(missing.code, kFoundProblems) << missing.errors;
  EXPECT_EQ(missing.Json()["missing_messages"], 3);
  const CommandResult forgotten = RunOnce({"loss", "forget", "--yes", "--json", "--store", url_});
  EXPECT_EQ(forgotten.code, kDone) << forgotten.errors;
  EXPECT_EQ(forgotten.Json()["forgotten_messages"], 3);
  EXPECT_EQ(RunOnce({"loss", "report", "--store", url_}).code, kDone);
  // The consumer has to take its row, and with it what is missing, anew.
  const auto begun = store_->transactions()->Begin({&expected_, 1});
  ASSERT_TRUE(begun.ok()) << begun.status();
  ASSERT_EQ(begun->mismatches.size(), 1u);
  ASSERT_TRUE(begun->mismatches[0].actual.has_value());
  EXPECT_EQ(begun->mismatches[0].actual->position, 9);
}

// Its handler may think for longer than the command knows of: here for an hour, as the server says
// in this command's eyes.
TEST_F(LossesOnPostgres, AreForgottenWithoutEndingTheTransactionOfAConsumerAtWork) {
  auto begun = store_->transactions()->Begin({});
  ASSERT_TRUE(begun.ok()) << begun.status();
  postgres::Connection connection(*begun->transaction);
  const auto viewed = connection.Execute(
      "CREATE VIEW " + schema_ +
      ".pg_stat_activity AS SELECT pid, datname, state, wait_event_type, application_name, "
      "backend_xid, state_change - interval '1 hour' AS state_change FROM "
      "pg_catalog.pg_stat_activity");
  ASSERT_TRUE(viewed.ok()) << viewed.status();
  ASSERT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());
  std::unique_ptr<StoreTransaction> at_work = BeginOfConsumer();
  ASSERT_NE(at_work, nullptr);
  const std::size_t hash = url_.find('#');
  const std::string url = url_.substr(0, hash) + "&options=-c%20search_path%3D" + schema_ +
                          "%2Cpg_catalog" + url_.substr(hash);
  std::jthread consumer([&] {
    std::this_thread::sleep_for(std::chrono::seconds(2));
    Finish(*at_work);
  });
  const CommandResult forgotten = RunOnce({"loss", "forget", "--yes", "--store", url});
  consumer.join();
  EXPECT_EQ(forgotten.code, kDone) << forgotten.errors;
  EXPECT_EQ(RunOnce({"loss", "report", "--store", url_}).code, kDone);
}

TEST_F(StoreOnPostgres, OfAnEarlierFormatIsLeftToAConsumer) {
  const auto set_format = [&](std::string_view format) {
    const std::string other = schema_ + "_other";
    auto beside =
        postgres::OpenStore({.connection = std::getenv("ONCE_TEST_POSTGRES"), .schema = other});
    ASSERT_TRUE(beside.ok()) << beside.status();
    auto begun = (*beside)->transactions()->Begin({});
    ASSERT_TRUE(begun.ok()) << begun.status();
    postgres::Connection connection(*begun->transaction);
    const auto set = connection.Execute(
        "UPDATE " + schema_ + ".meta SET value = $1 WHERE key = 'format'", {format});
    ASSERT_TRUE(set.ok()) << set.status();
    ASSERT_TRUE(connection.Execute("DROP SCHEMA " + other + " CASCADE").ok());
    ASSERT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());
  };
  store_.reset();
  set_format("2");
  const CommandResult stats = RunOnce({"store", "stats", "--store", url_});
  EXPECT_EQ(stats.code, kRefused) << stats.output;
  EXPECT_THAT(stats.errors, HasSubstr("the store has format 2"));
  set_format(std::to_string(postgres::kFormat));
  auto store =
      postgres::OpenStore({.connection = std::getenv("ONCE_TEST_POSTGRES"), .schema = schema_});
  ASSERT_TRUE(store.ok()) << store.status();
  store_ = *std::move(store);
}

TEST_F(StoreOnPostgres, IsNeverCreatedAndNoPasswordIsShown) {
  const std::string url = url_.substr(0, url_.find('#')) + "&password=geheim#nothing_here";
  const CommandResult missing = RunOnce({"failures", "list", "--store", url});
  EXPECT_EQ(missing.code, kNotFound) << missing.errors;
  EXPECT_THAT(missing.errors + missing.output, Not(HasSubstr("geheim")));
  const CommandResult away =
      RunOnce({"failures", "list", "--store", "postgresql://me:geheim@127.0.0.1:1/x"});
  EXPECT_NE(away.code, kDone);
  EXPECT_THAT(away.errors + away.output, Not(HasSubstr("geheim")));
}

}  // namespace
}  // namespace once::cli
#endif
