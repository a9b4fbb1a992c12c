// The store: Begin and Take in the database's turn, everything that only reads beside it.
#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/rocksdb/database.h"
#include "adapters/rocksdb/maintenance.h"
#include "adapters/rocksdb/operations.h"
#include "adapters/rocksdb/outbox.h"
#include "adapters/rocksdb/outgoing.h"
#include "adapters/rocksdb/rows.h"
#include "adapters/rocksdb/transaction.h"
#include "once/abseil.h"
#include "once/operator_socket.h"
#include "once/rocksdb/store.h"
#include "src/stores/claims.h"
#include "src/stores/position_rules.h"
#include "src/stores/single_lane_log.h"

namespace once::rocksdb {
namespace {

StoreTraits TraitsOf(const Database& database) {
  StoreTraits traits{.name = "rocksdb",
                     .durability = Durability::kMachine,
                     .weakness = database.FindWeakness(),
                     .is_shared = false,
                     .id = database.identity().store_id,
                     .open_count = database.identity().open_count,
                     .retention = database.options().retention};
  if (!database.options().is_synced) {
    traits.weakness =
        "the log is not synced: a power failure may undo the last commits; set "
        "StoreOptions::is_synced";
  }
  if (!traits.weakness.empty()) traits.durability = Durability::kProcess;
  return traits;
}

std::string ErrorText(const absl::Status& status) {
  return status.ok() ? "" : std::string(ToStd(status.message()));
}

absl::StatusOr<TakenPosition> TakePosition(RocksRows& rows, const TakeRequest& request) {
  const auto found = rows.FindPosition(request.key);
  if (!found.ok()) return found.status();
  absl::StatusOr<std::string> other_cluster = std::string();
  if (!*found) other_cluster = rows.FindOtherCluster(request.key);
  if (!other_cluster.ok()) return other_cluster.status();
  TakenPosition taken = stores::AnswerTake(request, *found, *std::move(other_cluster));
  if (!taken.exists) return taken;
  absl::Status put = rows.PutPosition(stores::AfterTake(request, *found, taken));
  if (!put.ok()) return put;
  return taken;
}

class RocksStore final : public DedupStore, public TransactionalStore {
 public:
  explicit RocksStore(std::shared_ptr<Database> database)
      : database_(std::move(database)),
        traits_(TraitsOf(*database_)),
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
          absl::StrCat("rocksdb: open ", database_->path(), ": ", server.status().message(),
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
  Database& database() { return *database_; }

  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override {
    if (absl::Status begun = database_->Begin("begin"); !begun.ok()) return begun;
    auto transaction = std::make_unique<RocksTransaction>(database_);
    auto mismatches = transaction->Lock(locks);
    if (!mismatches.ok()) return mismatches.status();
    BeginResult result{.transaction = nullptr, .mismatches = *std::move(mismatches)};
    if (result.mismatches.empty()) result.transaction = std::move(transaction);
    return result;
  }

  absl::StatusOr<std::vector<TakenPosition>> Take(std::span<const TakeRequest> requests) override {
    std::vector<TakenPosition> taken;
    absl::Status written =
        Write(*database_, "take", Durability::kMachine, [&](RocksRows& rows) -> absl::Status {
          for (const TakeRequest& request : requests) {
            absl::StatusOr<TakenPosition> row = TakePosition(rows, request);
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
    const Database::ReadScope reading(*database_);
    if (absl::Status check = reading.Check(); !check.ok()) return check;
    std::vector<std::optional<PositionStamp>> stamps;
    for (const PartitionKey& key : keys) {
      const auto row = FindPosition(reading.view(), key);
      if (!row.ok()) return row.status();
      stamps.push_back(*row ? std::optional((*row)->stamp) : std::nullopt);
    }
    return stamps;
  }

 private:
  // Shared with the open transaction, which may outlive the store.
  const std::shared_ptr<Database> database_;
  const StoreTraits traits_;
  RocksOutbox outbox_;
  RocksOutgoing outgoing_rows_;
  stores::SingleLaneLog outgoing_;
  RocksTransactions rows_;
  stores::FencedClaims claims_;
  RocksOperations operations_;
  RocksMaintenance maintenance_;
  std::unique_ptr<OperatorServer> operators_;  // last: it calls them
};

}  // namespace

absl::StatusOr<std::shared_ptr<DedupStore>> OpenStore(StoreOptions options) {
  absl::StatusOr<std::shared_ptr<Database>> database = Database::Open(options);
  if (!database.ok()) return database.status();
  auto store = std::make_shared<RocksStore>(*std::move(database));
  const absl::Status served = options.serve_operators ? store->ServeOperators() : absl::OkStatus();
  if (!served.ok()) return served;
  return store;
}

absl::StatusOr<Table> TableOf(Transaction& transaction, std::string_view name) {
  auto* ours = dynamic_cast<RocksTransaction*>(&transaction);
  if (ours != nullptr) return ours->OpenTable(name);
  return absl::InvalidArgumentError("rocksdb: open table: the transaction is another store's");
}

absl::Status ForEachCommitted(DedupStore& store, std::string_view table, Table::Visitor visit) {
  auto* ours = dynamic_cast<RocksStore*>(&store);
  if (ours == nullptr) {
    return absl::InvalidArgumentError("rocksdb: read table: the store is another kind");
  }
  const std::vector<std::string>& families = ours->database().families();
  const auto found = std::find(families.begin() + kOwnFamilies, families.end(), table);
  if (found == families.end()) {
    return absl::NotFoundError(absl::StrCat("rocksdb: ", ours->database().path(),
                                            " has no table \"", ToAbsl(table), "\""));
  }
  const Database::ReadScope reading(ours->database());
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  return reading.view().Scan(static_cast<std::size_t>(found - families.begin()), "", "", visit);
}

absl::StatusOr<Statistics> ReadStatistics(DedupStore& store) {
  auto* ours = dynamic_cast<RocksStore*>(&store);
  if (ours == nullptr) {
    return absl::InvalidArgumentError("rocksdb: read statistics: the store is another kind");
  }
  const Database::ReadScope reading(ours->database());
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  const OpenDb& open = reading.open_db();
  const auto property = [&](const std::string& name, std::size_t family) {
    std::uint64_t value = 0;
    return open.db().GetIntProperty(open.family(family), name, &value) ? value : 0;
  };
  const stores::IdLogStats ids =
      ours->database().ReadIds([](const stores::IdLog& log) { return log.stats(); });
  Statistics statistics{
      .ids_estimate = ids.unsealed_ids + ids.run_ids + ids.open_rows,
      .recent_ids = ids.recent_ids,
      .recent_ids_bytes = ids.recent_bytes,
      .open_ids = ids.open_rows,
      .unsealed_bytes = ids.unsealed_bytes,
      .runs = ids.runs,
      .run_memory_bytes = ids.filter_bytes + ids.index_bytes,
      .upkeep_error = ErrorText(ours->database().upkeep_status()),
      .cache_bytes = property(::rocksdb::DB::Properties::kBlockCacheUsage, kRowsFamily),
      .reopenings = ours->database().reopenings()};
  for (std::size_t i = 0; i < open.families(); ++i) {
    statistics.file_bytes += property(::rocksdb::DB::Properties::kLiveSstFilesSize, i);
    statistics.write_buffer_bytes += property(::rocksdb::DB::Properties::kSizeAllMemTables, i);
  }
  ::rocksdb::VectorLogPtr logs;
  if (open.db().GetSortedWalFiles(logs).ok()) {
    for (const auto& log : logs) statistics.log_bytes += log->SizeFileBytes();
  }
  return statistics;
}

}  // namespace once::rocksdb
