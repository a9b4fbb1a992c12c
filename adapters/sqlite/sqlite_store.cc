// The store: Begin and Take on the writing connection, everything that only reads on the other.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/sqlite/database.h"
#include "adapters/sqlite/outbox_codec.h"
#include "adapters/sqlite/transaction.h"
#include "once/abseil.h"
#include "once/sqlite/store.h"

namespace once::sqlite {
namespace {

StoreTraits TraitsOf(const Database& database, Synchronous synchronous) {
  StoreTraits traits{.name = "sqlite",
                     .durability = Durability::kMachine,
                     .weakness = database.FindWeakness(),
                     .is_shared = false};
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

absl::StatusOr<TakenPosition> TakeRow(Database& database, const TakeRequest& request) {
  WriterStatements& statements = database.statements();
  const auto previous = FindPosition(statements.find_position, request.key);
  if (!previous.ok()) return previous.status();
  TakenPosition taken{.previous = *previous, .current = {request.start, 1, request.writer}};
  Statement& write = *previous ? statements.take_position : statements.add_position;
  BindPartition(write, request.key);
  if (*previous) {
    taken.current = {(*previous)->position, (*previous)->revision + 1, request.writer};
    write.Bind(5, taken.current.revision);
  } else {
    write.Bind(5, request.start);
  }
  write.Bind(6, static_cast<std::int64_t>(request.writer));
  if (absl::Status written = write.Run(); !written.ok()) return written;
  return taken;
}

class SqliteStore final : public DedupStore, public TransactionalStore, public Outbox {
 public:
  SqliteStore(std::shared_ptr<Database> database, Synchronous synchronous)
      : database_(std::move(database)), traits_(TraitsOf(*database_, synchronous)) {}

  const StoreTraits& traits() const override { return traits_; }
  TransactionalStore* transactions() override { return this; }
  Outbox& outbox() override { return *this; }

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
    absl::Status written = Write("take", [&]() -> absl::Status {
      for (const TakeRequest& request : requests) {
        absl::StatusOr<TakenPosition> row = TakeRow(*database_, request);
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
      auto stamp = FindPosition(reading.statements().find_position, key);
      if (!stamp.ok()) return stamp.status();
      stamps.push_back(*std::move(stamp));
    }
    return stamps;
  }

  absl::StatusOr<std::vector<PendingRow>> FindPending(std::size_t rows_max) override {
    Database::ReadScope reading(*database_);
    if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
    Statement& find = reading.statements().find_pending;
    find.Bind(1, static_cast<std::int64_t>(std::min<std::size_t>(rows_max, 1'000'000)));
    std::vector<PendingRow> rows;
    absl::StatusOr<bool> has_row = find.Step();
    for (; has_row.ok() && *has_row; has_row = find.Step()) {
      absl::StatusOr<OutgoingMessage> message = DecodeMessage(find.Bytes(1));
      if (!message.ok()) {
        const std::int64_t sequence = find.Int(0);
        find.Reset();
        return absl::DataLossError(absl::StrCat("sqlite: outbox row ", sequence, " in ",
                                                database_->path(),
                                                " is damaged; restore a backup"));
      }
      rows.push_back({.sequence = find.Int(0), .message = *std::move(message)});
    }
    if (!has_row.ok()) return has_row.status();
    return rows;
  }

  absl::StatusOr<std::size_t> CountPending() override {
    Database::ReadScope reading(*database_);
    if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
    Statement& count = reading.statements().count_pending;
    const absl::StatusOr<bool> has_row = count.Step();
    if (!has_row.ok()) return has_row.status();
    const auto rows = static_cast<std::size_t>(count.Int(0));
    count.Reset();
    return rows;
  }

  absl::Status MarkPublished(std::span<const std::int64_t> sequences) override {
    if (sequences.empty()) return absl::OkStatus();
    return Write("mark outbox rows", [&]() -> absl::Status {
      Statement& mark = database_->statements().mark_published;
      for (const std::int64_t sequence : sequences) {
        mark.Bind(1, sequence);
        if (absl::Status marked = mark.Run(); !marked.ok()) return marked;
      }
      return absl::OkStatus();
    });
  }

  absl::Status Park(std::int64_t sequence, const absl::Status& reason) override {
    return Write("park outbox row", [&]() -> absl::Status {
      const std::string text = reason.ToString();
      Statement& park = database_->statements().park;
      park.Bind(1, sequence);
      park.BindBytes(2, text);
      return park.Run();
    });
  }

 private:
  // `work` in a transaction of its own.
  template <typename Work>
  absl::Status Write(std::string_view operation, Work work) {
    if (absl::Status begun = database_->Begin(operation); !begun.ok()) return begun;
    absl::Status worked;
    {
      const Guard::StoreScope scope(database_->guard());
      worked = work();
    }
    if (worked.ok()) return database_->Commit();
    database_->Rollback();
    return worked;
  }

  // Shared with the open transaction, which may outlive the store.
  const std::shared_ptr<Database> database_;
  const StoreTraits traits_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<DedupStore>> OpenStore(StoreOptions options) {
  absl::StatusOr<std::shared_ptr<Database>> database = Database::Open(options);
  if (!database.ok()) return database.status();
  return std::make_shared<SqliteStore>(*std::move(database), options.synchronous);
}

sqlite3* Connection(Transaction& transaction) {
  auto* ours = dynamic_cast<SqliteTransaction*>(&transaction);
  return ours != nullptr ? ours->connection() : nullptr;
}

}  // namespace once::sqlite
