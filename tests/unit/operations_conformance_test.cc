// The suite of operations is itself tested: the in-memory store behind a wrapper that gets one
// thing wrong must fail some of its checks, and behind an honest one none.
#include "once/testing/operations_conformance.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/memory_fixture.h"
#include "tests/unit/suite_runner.h"

namespace once {
namespace {

// Passes everything on. A bug overrides what it gets wrong.
class OperationsWrapper : public StoreOperations {
 public:
  explicit OperationsWrapper(DedupStore& store) : store_(store) {}

  absl::StatusOr<std::vector<StoredPosition>> ListPositions() override {
    return inner().ListPositions();
  }
  absl::Status OrderPosition(const PositionOrder& order) override {
    return inner().OrderPosition(order);
  }
  absl::StatusOr<std::vector<StoredFailure>> FindFailures(const FailureQuery& query) override {
    return inner().FindFailures(query);
  }
  absl::StatusOr<std::vector<FoundId>> FindId(const std::string& id) override {
    return inner().FindId(id);
  }
  absl::StatusOr<std::vector<StoredNote>> ListNotes(const NoteQuery& query) override {
    return inner().ListNotes(query);
  }
  absl::Status Redrive(const RedriveRequest& request) override { return inner().Redrive(request); }
  absl::Status Discard(const IdKey& key) override { return inner().Discard(key); }
  absl::Status Resolve(const IdKey& key) override { return inner().Resolve(key); }
  absl::Status DropLetter(std::int64_t number) override { return inner().DropLetter(number); }

 protected:
  StoreOperations& inner() { return *store_.operations(); }

  void Put(const IdKey& key, const IdRecord& record) {
    const auto begun = store_.transactions()->Begin({});
    if (!begun.ok() || !begun->transaction) return;
    const IdWrite write{.key = key, .record = record};
    if (!begun->transaction->PutIds({&write, 1}).ok()) return;
    begun->transaction->Commit(Durability::kMachine).IgnoreError();
  }

 private:
  DedupStore& store_;
};

// The message would be dead-lettered again at once.
class RedriveKeepsTheAttempts final : public OperationsWrapper {
 public:
  using OperationsWrapper::OperationsWrapper;
  absl::Status Redrive(const RedriveRequest& request) override {
    absl::Status redriven = OperationsWrapper::Redrive(request);
    if (redriven.ok()) {
      Put({.scope = request.row.scope, .id = request.row.id},
          {.state = IdState::kRetrying, .fingerprint = {.high = 1, .low = 2}, .attempt = 3});
    }
    return redriven;
  }
};

class RedriveForgetsTheId final : public OperationsWrapper {
 public:
  using OperationsWrapper::OperationsWrapper;
  absl::Status Redrive(const RedriveRequest& request) override {
    absl::Status redriven = OperationsWrapper::Redrive(request);
    if (redriven.ok()) Put({.scope = request.row.scope, .id = request.row.id}, {});
    return redriven;
  }
};

class RedriveIsNeverRefused final : public OperationsWrapper {
 public:
  using OperationsWrapper::OperationsWrapper;
  absl::Status Redrive(const RedriveRequest& request) override {
    OperationsWrapper::Redrive(request).IgnoreError();
    return absl::OkStatus();
  }
};

class ResolveTakesDeadOnes final : public OperationsWrapper {
 public:
  using OperationsWrapper::OperationsWrapper;
  absl::Status Resolve(const IdKey& key) override {
    absl::Status resolved = OperationsWrapper::Resolve(key);
    if (!absl::IsFailedPrecondition(resolved)) return resolved;
    Put(key, {.state = IdState::kCompleted});
    return absl::OkStatus();
  }
};

class DiscardDeletes final : public OperationsWrapper {
 public:
  using OperationsWrapper::OperationsWrapper;
  absl::Status Discard(const IdKey& key) override {
    absl::Status discarded = OperationsWrapper::Discard(key);
    if (discarded.ok()) Put(key, {});
    return discarded;
  }
};

class ScopeIsIgnored final : public OperationsWrapper {
 public:
  using OperationsWrapper::OperationsWrapper;
  absl::StatusOr<std::vector<StoredFailure>> FindFailures(const FailureQuery& query) override {
    FailureQuery any = query;
    any.scope.reset();
    return OperationsWrapper::FindFailures(any);
  }
};

class PagesBeginAnew final : public OperationsWrapper {
 public:
  using OperationsWrapper::OperationsWrapper;
  absl::StatusOr<std::vector<StoredFailure>> FindFailures(const FailureQuery& query) override {
    FailureQuery first = query;
    first.after = 0;
    return OperationsWrapper::FindFailures(first);
  }
};

class OrderKeepsTheWriter final : public OperationsWrapper {
 public:
  using OperationsWrapper::OperationsWrapper;
  absl::Status OrderPosition(const PositionOrder& order) override {
    PositionOrder same = order;
    const auto positions = inner().ListPositions();
    for (const StoredPosition& position : *positions) {
      if (position.key == order.key) same.writer = position.stamp.writer;
    }
    return OperationsWrapper::OrderPosition(same);
  }
};

class EveryOrderSets final : public OperationsWrapper {
 public:
  using OperationsWrapper::OperationsWrapper;
  absl::Status OrderPosition(const PositionOrder& order) override {
    PositionOrder set = order;
    set.directive = PositionDirective::kSet;
    return OperationsWrapper::OrderPosition(set);
  }
};

class EveryLetterIsPublished final : public OperationsWrapper {
 public:
  using OperationsWrapper::OperationsWrapper;
  absl::StatusOr<std::vector<StoredFailure>> FindFailures(const FailureQuery& query) override {
    auto failures = OperationsWrapper::FindFailures(query);
    for (StoredFailure& failure : *failures) failure.is_published = true;
    return failures;
  }
};

struct OperationsBug {
  std::string name;
  std::unique_ptr<StoreOperations> (*plant)(DedupStore& store);
};

template <typename Bug>
std::unique_ptr<StoreOperations> Plant(DedupStore& store) {
  return std::make_unique<Bug>(store);
}

class WrongStore final : public DedupStore {
 public:
  WrongStore(DedupStore& inner, const OperationsBug& bug)
      : inner_(inner), operations_(bug.plant(inner)) {}
  StoreTraits traits() const override { return inner_.traits(); }
  TransactionalStore* transactions() override { return inner_.transactions(); }
  ClaimStore* claims() override { return inner_.claims(); }
  StoreOperations* operations() override { return operations_.get(); }

 private:
  DedupStore& inner_;
  const std::unique_ptr<StoreOperations> operations_;
};

class WrongFixture final : public memory::MemoryFixture {
 public:
  explicit WrongFixture(const OperationsBug& bug) : wrong_(MemoryFixture::store(), bug) {}
  DedupStore& store() override { return wrong_; }

 private:
  WrongStore wrong_;
};

class OperationsSuite : public ::testing::TestWithParam<OperationsBug> {};

TEST_P(OperationsSuite, NoticesABugAndNothingElse) {
  testing::StoreUnderTest store = memory::MemoryUnderTest();
  store.make = [] { return std::make_unique<WrongFixture>(GetParam()); };
  const std::vector<std::string> failed = ChecksThatFail(testing::OperationsChecks(), store);
  ExpectNoticed(failed, GetParam().name);
}

INSTANTIATE_TEST_SUITE_P(
    Planted, OperationsSuite,
    ::testing::Values(OperationsBug{"nothing", Plant<OperationsWrapper>},
                      OperationsBug{"redrive_keeps_the_attempts", Plant<RedriveKeepsTheAttempts>},
                      OperationsBug{"redrive_forgets_the_id", Plant<RedriveForgetsTheId>},
                      OperationsBug{"redrive_is_never_refused", Plant<RedriveIsNeverRefused>},
                      OperationsBug{"resolve_takes_dead_ones", Plant<ResolveTakesDeadOnes>},
                      OperationsBug{"discard_deletes", Plant<DiscardDeletes>},
                      OperationsBug{"scope_is_ignored", Plant<ScopeIsIgnored>},
                      OperationsBug{"pages_begin_anew", Plant<PagesBeginAnew>},
                      OperationsBug{"order_keeps_the_writer", Plant<OrderKeepsTheWriter>},
                      OperationsBug{"every_order_sets", Plant<EveryOrderSets>},
                      OperationsBug{"every_letter_is_published", Plant<EveryLetterIsPublished>}),
    [](const auto& bug) { return bug.param.name; });

TEST(OperationsChecks, AreTheTestsOfTheSuite) {
  EXPECT_GT(testing::OperationsChecks().size(), 0u);
  EXPECT_EQ(testing::OperationsChecks().size(), CountTests("Memory/StoreOperationsConformance"));
}

}  // namespace
}  // namespace once
