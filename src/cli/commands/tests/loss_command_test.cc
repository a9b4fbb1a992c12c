// What `once loss report` makes of the notes in a store.
#include "src/cli/commands/loss_command.h"

#include <functional>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/memory/store.h"
#include "src/cli/commands/tests/command_scene.h"
#include "src/loss_notes.h"
#include "src/stream_state.h"
#include "src/stream_table.h"
#include "tests/forwarding_seams.h"

namespace once::cli {
namespace {

using ::testing::HasSubstr;

class LossCommand : public CommandScene {
 protected:
  // A stream that has come to 9, and `state` is what became of it.
  void AddStream(const std::string& producer, std::int32_t partition, const StreamState& state) {
    const PartitionKey key = {.cluster = "c",
                              .group = "billing",
                              .partition = {.topic = "orders", .partition = partition}};
    operations_.notes.push_back({.key = LossNoteKey(LossNoteKind::kLosses, key) +
                                        PackStream({.producer = producer, .epoch = 0x2a}),
                                 .value = state.EncodeLosses()});
  }
  static StreamState Missing(std::uint64_t first, std::uint64_t last, bool is_reported) {
    StreamState state(first);
    std::vector<StreamFinding> findings;
    (void)state.Receive(last + 1, 0, 100, findings);
    if (is_reported) state.ReportSeenUntil(0, findings);
    return state;
  }
};

TEST_F(LossCommand, AStoreWithoutLossesIsFine) {
  CommandContext context = Context();
  const Report report = ReportLosses(context, {});

  EXPECT_EQ(report.code, kDone);
  EXPECT_EQ(report.document["missing_messages"], 0);
  EXPECT_TRUE(report.document["streams"].empty());
}

TEST_F(LossCommand, NamesExactlyWhatIsMissing) {
  AddStream("shop-1", 0, Missing(4, 6, true));
  CommandContext context = Context();
  const Report report = ReportLosses(context, {});

  EXPECT_EQ(report.code, kFoundProblems);
  EXPECT_EQ(report.document["missing_messages"], 3);
  const auto& stream = report.document["streams"][0];
  EXPECT_EQ(stream["topic"], "orders");
  EXPECT_EQ(stream["partition"], 0);
  EXPECT_EQ(stream["producer"], "shop-1");
  EXPECT_EQ(stream["epoch"], "000000000000002a");
  EXPECT_EQ(stream["missing"][0]["first"], 4);
  EXPECT_EQ(stream["missing"][0]["last"], 6);
  EXPECT_THAT(report.text, HasSubstr("4-6"));
  EXPECT_THAT(NotesOf(report), HasSubstr("3 messages"));
}

TEST_F(LossCommand, WhatMayOnlyBeLateIsNoProblemYet) {
  AddStream("shop-1", 0, Missing(4, 6, false));
  CommandContext context = Context();
  const Report report = ReportLosses(context, {});

  EXPECT_EQ(report.code, kDone);
  EXPECT_EQ(report.document["waiting_messages"], 3);
}

TEST_F(LossCommand, SelectsByPartitionAndProducer) {
  AddStream("shop-1", 0, Missing(4, 6, true));
  AddStream("shop-2", 0, Missing(1, 1, true));
  AddStream("shop-2", 1, Missing(8, 9, true));
  CommandContext context = Context();

  EXPECT_EQ(ReportLosses(context, {}).document["missing_messages"], 6);
  EXPECT_EQ(ReportLosses(context, {.producer = "shop-2"}).document["missing_messages"], 3);
  EXPECT_EQ(ReportLosses(context, {.topic = "orders", .partition = 1}).document["missing_messages"],
            2);
  EXPECT_EQ(ReportLosses(context, {.group = "other"}).code, kDone);
}

TEST_F(LossCommand, ReadsPageAfterPage) {
  for (int i = 0; i < 250; ++i) AddStream(absl::StrCat("p", 100 + i), 0, Missing(1, 1, true));
  CommandContext context = Context();

  EXPECT_EQ(ReportLosses(context, {}).document["missing_messages"], 250);
}

TEST_F(LossCommand, ADamagedNoteIsAnErrorAndNotNothing) {
  AddStream("shop-1", 0, Missing(4, 6, true));
  operations_.notes[0].value = "nonsense";
  CommandContext context = Context();

  EXPECT_EQ(ReportLosses(context, {}).code, ExitCodeOf(absl::DataLossError("")));
}

// A store in memory, with the notes of one stream as a consumer leaves them.
class LossForget : public LossCommand {
 protected:
  void Leave(const StreamState& state) {
    const PartitionKey& key = key_;
    const std::string stream = PackStream({.producer = "shop-1", .epoch = 1});
    Put(LossNoteKey(LossNoteKind::kHead, key) + stream, state.EncodeHead());
    Put(LossNoteKey(LossNoteKind::kLosses, key) + stream, state.EncodeLosses());
    Put(LossNoteKey(LossNoteKind::kPartition, key),
        EncodeProgress({.position = 9, .missing = state.CountMissing()}));
  }
  CommandContext Opened() {
    return {.operations = *store_->operations(),
            .random = *random_,
            .executor = executor_,
            .transactions = store_->transactions(),
            .confirm = [this](std::string_view) { return is_confirmed_; }};
  }

  // What the partition's consumer expects of its row from now on.
  static PositionStamp Take(TransactionalStore& store, std::uint64_t writer) {
    const TakeRequest request{.key = key_, .writer = writer};
    const auto taken = store.Take({&request, 1});
    EXPECT_TRUE(taken.ok()) << taken.status();
    return taken.ok() ? taken->front().current : PositionStamp{};
  }

  static inline const PartitionKey key_ = {
      .cluster = "c", .group = "billing", .partition = {.topic = "orders", .partition = 0}};
  std::shared_ptr<memory::Store> store_ = memory::OpenStore();

 private:
  void Put(const std::string& key, const std::string& value) {
    auto begun = store_->transactions()->Begin({});
    ASSERT_TRUE(begun.ok());
    const Note note{.key = key, .value = value};
    ASSERT_TRUE(begun->transaction->PutNotes({&note, 1}).ok());
    ASSERT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());
  }
};

TEST_F(LossForget, WhatWasDealtWithIsNotReportedAnyMore) {
  Leave(Missing(4, 6, true));
  CommandContext context = Opened();
  const Report report = ForgetLosses(context, {});
  EXPECT_EQ(report.code, kDone);
  EXPECT_EQ(report.document["forgotten_messages"], 3);

  EXPECT_EQ(ReportLosses(context, {}).code, kDone);
  EXPECT_EQ(ForgetLosses(context, {}).code, kNotFound);
}

TEST_F(LossForget, NothingIsForgottenWithoutAWordOrOfAnotherProducer) {
  Leave(Missing(4, 6, true));
  CommandContext context = Opened();
  EXPECT_EQ(ForgetLosses(context, {.producer = "shop-2"}).code, kNotFound);
  is_confirmed_ = false;
  EXPECT_EQ(ForgetLosses(context, {}).code, kRefused);

  EXPECT_EQ(ReportLosses(context, {}).document["missing_messages"], 3);
}

TEST_F(LossForget, AConsumerThatHasThePartitionMustReadItAgain) {
  Leave(Missing(4, 6, true));
  const PositionLock lock{.key = key_, .expected = Take(*store_->transactions(), 7)};
  CommandContext context = Opened();
  EXPECT_EQ(ForgetLosses(context, {}).code, kDone);

  const auto begun = store_->transactions()->Begin({&lock, 1});
  ASSERT_TRUE(begun.ok()) << begun.status();
  EXPECT_EQ(begun->mismatches.size(), 1u) << "it would write down what it remembers";
}

// The consumer notices so soon that it has its partition back before the notes are read.
class EagerConsumer final : public testing::ForwardingStore {
 public:
  EagerConsumer(std::shared_ptr<DedupStore> inner, std::function<void()> take_back)
      : ForwardingStore(std::move(inner)), take_back_(std::move(take_back)) {}
  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override {
    if (times_left_-- > 0) take_back_();
    return ForwardingStore::Begin(locks);
  }

 private:
  const std::function<void()> take_back_;
  int times_left_ = 2;
};

TEST_F(LossForget, AConsumerThatTakesItsPartitionBackIsAskedAgain) {
  Leave(Missing(4, 6, true));
  PositionLock lock{.key = key_, .expected = Take(*store_->transactions(), 7)};
  EagerConsumer store(store_, [&] { lock.expected = Take(*store_->transactions(), 8); });
  CommandContext context = Opened();
  context.transactions = &store;
  EXPECT_EQ(ForgetLosses(context, {}).code, kDone);

  EXPECT_EQ(ReportLosses(context, {}).code, kDone);
  const auto begun = store_->transactions()->Begin({&lock, 1});
  ASSERT_TRUE(begun.ok()) << begun.status();
  EXPECT_EQ(begun->mismatches.size(), 1u);
}

// The consumer's transaction holds the partition's row for the first `busy` tries.
class BusyConsumer final : public testing::ForwardingStore {
 public:
  BusyConsumer(std::shared_ptr<DedupStore> inner, int busy)
      : ForwardingStore(std::move(inner)), tries_left_(busy) {}
  absl::StatusOr<std::vector<TakenPosition>> Take(std::span<const TakeRequest> requests) override {
    if (tries_left_-- > 0) return absl::UnavailableError("another transaction holds it");
    return ForwardingStore::Take(requests);
  }

 private:
  int tries_left_;
};

TEST_F(LossForget, AConsumerThatIsAtWorkIsWaitedFor) {
  Leave(Missing(4, 6, true));
  BusyConsumer store(store_, 50);
  CommandContext context = Opened();
  context.transactions = &store;
  const absl::Time begun = executor_.Now();
  EXPECT_EQ(ForgetLosses(context, {}).code, kDone);
  EXPECT_EQ(executor_.Now() - begun, absl::Seconds(10)) << "it pauses between its tries";
  EXPECT_EQ(ReportLosses(context, {}).code, kDone);
}

TEST_F(LossForget, ButNotForEverAndTheErrorSaysWhatToDo) {
  Leave(Missing(4, 6, true));
  BusyConsumer store(store_, 1'000'000);
  CommandContext context = Opened();
  context.transactions = &store;
  const absl::Time begun = executor_.Now();
  const Report report = ForgetLosses(context, {});
  EXPECT_EQ(report.code, kUnreachable);
  EXPECT_THAT(NotesOf(report), HasSubstr("stop that consumer"));
  EXPECT_EQ(executor_.Now() - begun, absl::Seconds(20));
  EXPECT_EQ(ReportLosses(context, {}).document["missing_messages"], 3);
}

TEST_F(LossForget, WhatHasGoneMissingSinceItWasShownIsNotForgotten) {
  Leave(Missing(4, 6, true));
  CommandContext context = Opened();
  context.confirm = [this](std::string_view) {
    Leave(Missing(4, 9, true));
    return true;
  };
  EXPECT_EQ(ForgetLosses(context, {}).code, kRefused);
  EXPECT_EQ(ReportLosses(context, {}).document["missing_messages"], 6);
}

// As many are missing as were shown, and one of them is another.
TEST_F(LossForget, WhatHasGoneMissingWhileAnotherWasFoundIsNotForgotten) {
  Leave(Missing(4, 6, true));
  CommandContext context = Opened();
  context.confirm = [this](std::string_view) {
    StreamState state = Missing(4, 6, true);
    std::vector<StreamFinding> findings;
    (void)state.Receive(5, 0, 100, findings);
    (void)state.Receive(9, 0, 100, findings);
    state.ReportSeenUntil(0, findings);
    Leave(state);
    return true;
  };
  const Report report = ForgetLosses(context, {});
  EXPECT_EQ(report.code, kRefused);
  EXPECT_THAT(NotesOf(report), HasSubstr("was not shown"));
  EXPECT_EQ(ReportLosses(context, {}).document["missing_messages"], 3);
}

TEST_F(LossForget, WhatWasFoundSinceItWasShownHindersNobody) {
  Leave(Missing(4, 6, true));
  CommandContext context = Opened();
  context.confirm = [this](std::string_view) {
    StreamState state = Missing(4, 6, true);
    std::vector<StreamFinding> findings;
    (void)state.Receive(5, 0, 100, findings);
    Leave(state);
    return true;
  };
  EXPECT_EQ(ForgetLosses(context, {}).code, kDone);
  EXPECT_EQ(ReportLosses(context, {}).code, kDone);
}

TEST_F(LossForget, AStoreThatIsOpenElsewhereIsLeftAlone) {
  AddStream("shop-1", 0, Missing(4, 6, true));
  CommandContext context = Context();

  EXPECT_EQ(ForgetLosses(context, {}).code, kRefused);
}

}  // namespace
}  // namespace once::cli
