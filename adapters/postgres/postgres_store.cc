// The store: Begin and Take lock rows, everything else reads or goes through the shared protocols.
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/database.h"
#include "adapters/postgres/maintenance.h"
#include "adapters/postgres/operations.h"
#include "adapters/postgres/outbox.h"
#include "adapters/postgres/outgoing.h"
#include "adapters/postgres/position_rows.h"
#include "adapters/postgres/rows.h"
#include "adapters/postgres/transaction.h"
#include "adapters/postgres/upkeep.h"
#include "once/abseil.h"
#include "once/postgres/store.h"
#include "src/stores/claims.h"
#include "src/stores/position_rules.h"
#include "src/test_hooks.h"

namespace once::postgres {
namespace {

class PostgresStore final : public DedupStore, public TransactionalStore {
 public:
  explicit PostgresStore(std::shared_ptr<Database> database)
      : database_(std::move(database)),
        outbox_(database_),
        outgoing_(database_),
        rows_(database_),
        claims_(rows_),
        operations_(database_, rows_),
        maintenance_(database_) {
    if (database_->options().retention != absl::InfiniteDuration()) upkeep_.emplace(database_);
  }

  StoreTraits traits() const override { return database_->traits(); }
  TransactionalStore* transactions() override { return this; }
  ClaimStore* claims() override { return &claims_; }
  StoreOperations* operations() override { return &operations_; }
  StoreMaintenance* maintenance() override { return &maintenance_; }
  Outbox& outbox() override { return outbox_; }
  OutgoingLog* outgoing() override { return &outgoing_; }

  absl::StatusOr<Statistics> ReadStatistics() {
    auto session = database_->Acquire("read statistics");
    if (!session.ok()) return session.status();
    (*session)->Queue(database_->statements().count_buckets);
    (*session)->Queue(database_->statements().list_upkeep_errors);
    const auto results = (*session)->Run(database_->options().answer_timeout);
    if (!results.ok()) return results.status();
    Statistics statistics{.buckets = results->front().Int(0, 0),
                          .upkeep_error = upkeep_ ? upkeep_->error() : ""};
    const Result& errors = results->back();
    for (int row = 0; row < errors.rows(); ++row) {
      statistics.upkeep_errors.emplace_back(errors.Bytes(row, 0));
    }
    return statistics;
  }

  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override {
    auto session = database_->Acquire("begin");
    if (!session.ok()) return session.status();
    // Whoever holds a row has his ids to himself; whoever does not waits for each.
    const Locking locking = locks.empty() ? Locking::kHold : Locking::kUnsettled;
    auto transaction =
        std::make_unique<PostgresTransaction>(database_, *std::move(session), locking);
    auto mismatches = transaction->Lock(locks);
    if (!mismatches.ok()) return mismatches.status();
    BeginResult result{.transaction = nullptr, .mismatches = *std::move(mismatches)};
    if (result.mismatches.empty()) result.transaction = std::move(transaction);
    return result;
  }

  absl::StatusOr<std::vector<TakenPosition>> Take(std::span<const TakeRequest> requests) override {
    std::vector<PartitionKey> keys;
    for (const TakeRequest& request : requests) keys.push_back(request.key);
    auto taken = TryTake(requests, keys);
    if (!absl::IsUnavailable(taken.status())) return taken;
    // Somebody holds a row. If he hangs, or is a session of ours that is gone, nobody else will
    // end him.
    const absl::StatusOr<int> ended = database_->EndHungOwners(keys);
    if (!ended.ok() || *ended == 0) return taken;
    return TryTake(requests, keys);
  }

  absl::StatusOr<std::vector<std::optional<PositionStamp>>> ReadPositions(
      std::span<const PartitionKey> keys) override {
    auto session = database_->Acquire("read positions");
    if (!session.ok()) return session.status();
    (*session)->Queue(database_->statements().read_positions, KeyParams(keys));
    const auto results = (*session)->Run(database_->options().answer_timeout);
    if (!results.ok()) return results.status();
    const Result& found = results->back();
    std::vector<std::optional<PositionStamp>> stamps(keys.size());
    for (int row = 0; row < found.rows(); ++row) {
      const auto position = PositionAt(found, row);
      if (!position.ok()) return position.status();
      stamps[KeyIndex(found, row)] = position->stamp;
    }
    return stamps;
  }

 private:
  absl::StatusOr<std::vector<TakenPosition>> TryTake(std::span<const TakeRequest> requests,
                                                     std::span<const PartitionKey> keys) {
    auto session = database_->Acquire("take");
    if (!session.ok()) return session.status();
    (*session)->Queue(database_->statements().begin);
    (*session)->Queue(database_->statements().find_other_clusters, KeyParams(keys));
    PostgresRows rows(*database_, **session, Locking::kUnsettled);
    const auto clusters = (*session)->Run(database_->options().answer_timeout);
    if (!clusters.ok()) return clusters.status();
    std::vector<std::string> other_clusters(keys.size());
    const Result& others = clusters->back();
    for (int row = 0; row < others.rows(); ++row) {
      other_clusters[KeyIndex(others, row)] = std::string(others.Bytes(row, 1));
    }
    const auto found = rows.LockPositions(keys);
    if (!found.ok()) return found.status();
    ONCE_KILL_POINT("postgres.rows_locked");
    std::vector<TakenPosition> taken;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const auto& row = (*found)[i];
      taken.push_back(stores::AnswerTake(requests[i], row, row ? "" : other_clusters[i]));
      if (!taken.back().exists) continue;
      absl::Status put = rows.PutPosition(stores::AfterTake(requests[i], row, taken.back()));
      if (!put.ok()) return put;
    }
    rows.Flush();
    absl::Status committed =
        database_->Commit(**session, Durability::kMachine, "take the rows again");
    if (!committed.ok()) return committed;
    return taken;
  }

  // Shared with the open transactions, which may outlive the store.
  const std::shared_ptr<Database> database_;
  PostgresOutbox outbox_;
  PostgresOutgoing outgoing_;
  PostgresTransactions rows_;
  stores::FencedClaims claims_;
  PostgresOperations operations_;
  PostgresMaintenance maintenance_;
  std::optional<Upkeep> upkeep_;  // none: everything is kept for ever
};

}  // namespace

absl::StatusOr<std::shared_ptr<DedupStore>> OpenStore(StoreOptions options) {
  absl::StatusOr<std::shared_ptr<Database>> database = Database::Open(std::move(options));
  if (!database.ok()) return database.status();
  return std::make_shared<PostgresStore>(*std::move(database));
}

absl::StatusOr<Statistics> ReadStatistics(DedupStore& store) {
  auto* const ours = dynamic_cast<PostgresStore*>(&store);
  if (ours != nullptr) return ours->ReadStatistics();
  return absl::InvalidArgumentError("postgres: statistics of a store that is another one's");
}

}  // namespace once::postgres
