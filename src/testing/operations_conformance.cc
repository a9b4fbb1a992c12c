// The public suite for operations: its vocabulary, and the list of its tests. Compiled once:
// whoever instantiates the suite links them.
#include "once/testing/operations_conformance.h"

#include <algorithm>
#include <utility>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/dead_letter.h"
#include "src/testing/operations_bench.h"

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StoreOperationsConformance);

namespace once::testing {
namespace {

std::vector<StoreCheck>& ListedChecks() {
  static auto* const checks = new std::vector<StoreCheck>;
  return *checks;
}

}  // namespace

bool ListOperationsCheck(std::string_view name, void (*run)(const StoreUnderTest&)) {
  ListedChecks().push_back({.name = std::string(name), .run = run});
  return true;
}

bool LinkOperationsSuite() {
  LinkPositionChecks();
  LinkNoteChecks();
  LinkLetterChecks();
  LinkRedriveChecks();
  return true;
}

std::vector<StoreCheck> OperationsChecks() {
  LinkOperationsSuite();
  return ListedChecks();
}

bool OperationsBench::CanRun() {
  if (const std::string& why_not = capabilities().why_no_transactions; !why_not.empty()) {
    [&] { GTEST_SKIP() << why_not; }();
    return false;
  }
  DedupStore& store = fixture().store();
  EXPECT_NE(store.operations(), nullptr) << "the store has no operations";
  EXPECT_NE(store.transactions(), nullptr) << "the store has no transactions";
  return store.operations() != nullptr && store.transactions() != nullptr;
}

PartitionKey OperationsBench::Partition(std::int32_t number) {
  return {.cluster = "cluster", .group = "group", .partition = {"orders", number}};
}

TakenPosition OperationsBench::Take(const PartitionKey& key, std::uint64_t writer,
                                    std::int64_t start) {
  const TakeRequest request{.key = key, .writer = writer, .start = start};
  auto taken = transactions().Take({&request, 1});
  if (!taken.ok() || taken->size() != 1) {
    ADD_FAILURE() << "take: " << taken.status();
    return {};
  }
  return taken->front();
}

PositionStamp OperationsBench::Commit(const PositionStamp& expected, const PositionUpdate& update) {
  const PositionLock lock{.key = update.key, .expected = expected};
  const auto begun = transactions().Begin({&lock, 1});
  if (!begun.ok() || !begun->transaction) {
    ADD_FAILURE() << "begin: " << begun.status();
    return {};
  }
  const absl::Status set = begun->transaction->SetPositions({&update, 1});
  EXPECT_TRUE(set.ok()) << set;
  const absl::Status committed = begun->transaction->Commit(Durability::kMachine);
  EXPECT_TRUE(committed.ok()) << committed;
  return {update.position, expected.revision + 1, expected.writer};
}

StoredPosition OperationsBench::Listed(const PartitionKey& key) {
  const auto positions = operations().ListPositions();
  EXPECT_TRUE(positions.ok()) << positions.status();
  if (positions.ok()) {
    for (const StoredPosition& position : *positions) {
      if (position.key == key) return position;
    }
  }
  ADD_FAILURE() << ToString(key.partition) << " is not listed";
  return {};
}

OutboxRow OperationsBench::Letter(std::int64_t offset, std::string_view id) {
  return {.origin = {.key = Partition(3), .offset = offset, .timestamp_ms = 1'700'000'000'123},
          .message = {.topic = "orders.group.dlq",
                      .partition = std::nullopt,
                      .key = "key",
                      .value = absl::StrCat("value at ", offset),
                      .headers = {{"trace", "t"}, {"once-disposition", "rejected"}}},
          .scope = id.empty() ? "" : std::string(kScope),
          .id = std::string(id)};
}

void OperationsBench::CommitRow(const OutboxRow& row) {
  const auto begun = transactions().Begin({});
  if (!begun.ok() || !begun->transaction) {
    ADD_FAILURE() << "begin: " << begun.status();
    return;
  }
  const absl::Status put = begun->transaction->PutOutgoing({&row, 1});
  EXPECT_TRUE(put.ok()) << put;
  const absl::Status committed = begun->transaction->Commit(Durability::kMachine);
  EXPECT_TRUE(committed.ok()) << committed;
}

void OperationsBench::CommitLetter(const OutboxRow& letter, IdState state) {
  if (!letter.id.empty()) {
    PutInTransaction(letter.id, {.state = state,
                                 .fingerprint = kPrint,
                                 .attempt = 3,
                                 .first_failed_at = absl::FromUnixSeconds(1'700'000'000)});
  }
  CommitRow(letter);
}

std::vector<std::string> OperationsBench::PublishPending() {
  const auto rows = outbox().FindPending(1000);
  EXPECT_TRUE(rows.ok()) << rows.status();
  if (!rows.ok()) return {};
  std::vector<std::int64_t> sequences;
  for (const PendingRow& row : *rows) sequences.push_back(row.sequence);
  const absl::Status marked = outbox().MarkPublished(sequences);
  EXPECT_TRUE(marked.ok()) << marked;
  return Values(*rows);
}

std::vector<StoredFailure> OperationsBench::Failures(const FailureQuery& query) {
  auto failures = operations().FindFailures(query);
  EXPECT_TRUE(failures.ok()) << failures.status();
  return failures.ok() ? *std::move(failures) : std::vector<StoredFailure>();
}

StoredFailure OperationsBench::FailureOf(std::string_view id) {
  std::vector<StoredFailure> failures = Failures({.id = std::string(id)});
  if (failures.size() == 1) return std::move(failures.front());
  ADD_FAILURE() << failures.size() << " failures of " << id << ", expected one";
  return {};
}

IdState OperationsBench::StateOf(std::string_view id) {
  const auto found = operations().FindId(std::string(id));
  EXPECT_TRUE(found.ok()) << found.status();
  if (!found.ok() || found->empty()) return IdState::kAbsent;
  EXPECT_EQ(found->size(), 1u);
  return found->front().record.state;
}

absl::Status OperationsBench::Redrive(const StoredFailure& failure) {
  RedriveRequest request{.number = failure.number, .row = {}};
  request.row = {
      .origin = failure.origin,
      .message = MakeRedrive(failure.letter, failure.origin.key.partition,
                             absl::StrCat("redrive of ", failure.number), failure.redrives + 1),
      .scope = failure.scope,
      .id = failure.id};
  request.row.origin.ordinal = -(failure.redrives + 1);
  return operations().Redrive(request);
}

void OperationsBench::ExpectRefusal(const absl::Status& status, IdState state) {
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(std::string(ToString(state))));
}

}  // namespace once::testing
