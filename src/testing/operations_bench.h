// The vocabulary of the conformance tests of operations, and how one is written:
//
//   OPERATIONS_CHECK(NothingFailedAtFirst) { EXPECT_THAT(Failures(), IsEmpty()); }
//
// Each check is a test of the suite, and a value in OperationsChecks(). Private to src/testing.
// Thread-safety: for one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "once/testing/operations_conformance.h"
#include "src/testing/claim_bench.h"

namespace once::testing {

class OperationsBench : public ClaimBench {
 public:
  using ClaimBench::ClaimBench;
  bool CanRun() override;

 protected:
  StoreOperations& operations() { return *fixture().store().operations(); }
  Outbox& outbox() { return transactions().outbox(); }

  static PartitionKey Partition(std::int32_t number);
  TakenPosition Take(const PartitionKey& key, std::uint64_t writer, std::int64_t start = 0);
  // Writes `update` in a transaction of the owner that Take() has made; its next stamp.
  PositionStamp Commit(const PositionStamp& expected, const PositionUpdate& update);
  // The listed row of `key`; a failure when there is none.
  StoredPosition Listed(const PartitionKey& key);

  // The dead letter of the message at `offset`; an empty id makes one without an id.
  static OutboxRow Letter(std::int64_t offset, std::string_view id);
  // One transaction that leaves the letter's id in `state` and puts the letter.
  void CommitLetter(const OutboxRow& letter, IdState state = IdState::kDead);
  void CommitRow(const OutboxRow& row);
  // The broker acknowledges everything that is pending; the values of what it got.
  std::vector<std::string> PublishPending();

  std::vector<StoredFailure> Failures(const FailureQuery& query = {});
  // The one failure of `id`, or an empty one, and a failure of the test.
  StoredFailure FailureOf(std::string_view id);
  IdState StateOf(std::string_view id);

  absl::Status Redrive(const StoredFailure& failure);
  absl::Status DiscardId(std::string_view id) {
    return operations().Discard({.scope = kScope, .id = id});
  }
  absl::Status ResolveId(std::string_view id) {
    return operations().Resolve({.scope = kScope, .id = id});
  }

  // The refusal must name `state`.
  static void ExpectRefusal(const absl::Status& status, IdState state);
};

// Registers a check; called before main() by OPERATIONS_CHECK.
bool ListOperationsCheck(std::string_view name, void (*run)(const StoreUnderTest&));

// So that a linker that takes the suite out of an archive takes all its files.
void LinkPositionChecks();
void LinkNoteChecks();
void LinkLetterChecks();
void LinkRedriveChecks();

#define OPERATIONS_CHECK(check_name) \
  STORE_CHECK(StoreOperationsConformance, OperationsBench, ListOperationsCheck, check_name)

}  // namespace once::testing
