// The store: Begin and Take on the writing connection, everything that only reads on the other.
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/sqlite/database.h"
#include "adapters/sqlite/maintenance.h"
#include "adapters/sqlite/operations.h"
#include "adapters/sqlite/outbox.h"
#include "adapters/sqlite/outgoing.h"
#include "adapters/sqlite/position_rows.h"
#include "adapters/sqlite/rows.h"
#include "adapters/sqlite/transaction.h"
#include "once/abseil.h"
#include "once/operator_socket.h"
#include "once/sqlite/store.h"
#include "src/stores/claims.h"
#include "src/stores/single_lane_log.h"

namespace once::sqlite {
namespace {

StoreTraits TraitsOf(const Database& database, const StoreOptions& options) {
  const Synchronous synchronous = options.synchronous;
  StoreTraits traits{.name = "sqlite",
                     .durability = Durability::kMachine,
                     .weakness = database.FindWeakness(),
                     .is_shared = false,
                     .id = database.identity().store_id,
                     .open_count = static_cast<std::uint64_t>(database.identity().open_count),
                     .retention = options.retention};
  if (synchronous == Synchronous::kNormal) {
    traits.weakness =
        "synchronous=NORMAL: a power failure may undo the last commits; set "
        "StoreOptions::synchronous to kFull";
  } else if (synchronous == Synchronous::kOff) {
    traits.weakness =
        "synchronous=OFF: a power failure may undo commits or corrupt the file; set "
        "StoreOptions::synchronous to kFull";
  }
  if (!traits.weakness.empty()) traits.durability = Durability::kProcess;
  return traits;
}

class SqliteStore final : public DedupStore, public TransactionalStore {
 public:
  SqliteStore(std::shared_ptr<Database> database, const StoreOptions& options)
      : database_(std::move(database)),
        traits_(TraitsOf(*database_, options)),
        outbox_(database_),
        outgoing_rows_(database_),
        outgoing_(outgoing_rows_, traits_.id,
                  [database = database_] { return database->clock().now; }),
        rows_(database_),
        claims_(rows_),
        operations_(database_, rows_),
        maintenance_(database_) {}

  absl::Status ServeOperators() {
    auto server = OperatorServer::Start(
        absl::StrCat(database_->path(), ToAbsl(kOperatorSocketSuffix)),
        {.operations = operations_, .maintenance = &maintenance_, .outgoing = &outgoing_});
    if (!server.ok()) {
      return absl::Status(
          server.status().code(),
          absl::StrCat("sqlite: open ", database_->path(), ": ", server.status().message(),
                       "; mend that, or set StoreOptions::serve_operators = false "
                       "and do without the `once` command while it is open"));
    }
    operators_ = *std::move(server);
    return absl::OkStatus();
  }

  StoreTraits traits() const override { return traits_; }
  TransactionalStore* transactions() override { return this; }
  ClaimStore* claims() override { return &claims_; }
  StoreOperations* operations() override { return &operations_; }
  StoreMaintenance* maintenance() override { return &maintenance_; }
  Outbox& outbox() override { return outbox_; }
  OutgoingLog* outgoing() override { return &outgoing_; }
  bool syncs_beside() const override { return traits_.durability == Durability::kMachine; }
  absl::Status Sync() override { return database_->SyncBeside(); }

  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override {
    if (absl::Status begun = database_->Begin("begin"); !begun.ok()) return begun;
    auto transaction = std::make_unique<SqliteTransaction>(database_);
    auto mismatches = transaction->Lock(locks);
    if (!mismatches.ok()) return mismatches.status();
    BeginResult result{.transaction = nullptr, .mismatches = *std::move(mismatches)};
    if (result.mismatches.empty()) result.transaction = std::move(transaction);
    return result;
  }

  absl::StatusOr<std::vector<TakenPosition>> Take(std::span<const TakeRequest> requests) override {
    std::vector<TakenPosition> taken;
    absl::Status written =
        Write(*database_, "take", Durability::kMachine, [&](SqliteRows&) -> absl::Status {
          for (const TakeRequest& request : requests) {
            absl::StatusOr<TakenPosition> row = TakePosition(*database_, request);
            if (!row.ok()) return row.status();
            taken.push_back(*std::move(row));
          }
          return absl::OkStatus();
        });
    if (!written.ok()) return written;
    return taken;
  }

  absl::StatusOr<std::vector<std::optional<PositionStamp>>> ReadPositions(
      std::span<const PartitionKey> keys) override {
    Database::ReadScope reading(*database_);
    if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
    std::vector<std::optional<PositionStamp>> stamps;
    for (const PartitionKey& key : keys) {
      const auto row = FindPosition(reading.statements().find_position, key);
      if (!row.ok()) return row.status();
      stamps.push_back(*row ? std::optional((*row)->stamp) : std::nullopt);
    }
    return stamps;
  }

 private:
  // Shared with the open transaction, which may outlive the store.
  const std::shared_ptr<Database> database_;
  const StoreTraits traits_;
  SqliteOutbox outbox_;
  SqliteOutgoing outgoing_rows_;
  stores::SingleLaneLog outgoing_;
  SqliteTransactions rows_;
  stores::FencedClaims claims_;
  SqliteOperations operations_;
  SqliteMaintenance maintenance_;
  std::unique_ptr<OperatorServer> operators_;  // last: it calls them
};

}  // namespace

absl::StatusOr<std::shared_ptr<DedupStore>> OpenStore(StoreOptions options) {
  absl::StatusOr<std::shared_ptr<Database>> database = Database::Open(options);
  if (!database.ok()) return database.status();
  auto store = std::make_shared<SqliteStore>(*std::move(database), options);
  const absl::Status served = options.serve_operators ? store->ServeOperators() : absl::OkStatus();
  if (!served.ok()) return served;
  return store;
}

sqlite3* Connection(Transaction& transaction) {
  auto* ours = dynamic_cast<SqliteTransaction*>(&transaction);
  return ours != nullptr ? ours->connection() : nullptr;
}

}  // namespace once::sqlite
