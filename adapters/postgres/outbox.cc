// Pending rows as SQL.
#include "adapters/postgres/outbox.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/stores/outbox_codec.h"
#include "src/test_hooks.h"

namespace once::postgres {
namespace {

constexpr std::size_t kRowsMax = 1'000'000;
// Beyond these the oldest are forgotten, and found again.
constexpr std::size_t kOriginsMax = 100'000;

}  // namespace

bool PostgresOutbox::TryAcquireRelay() {
  if (!Outbox::TryAcquireRelay()) return false;
  auto session = database_->Acquire("become the relay");
  if (session.ok()) {
    (*session)->Queue(database_->statements().try_relay);
    const auto results = (*session)->Run(database_->options().answer_timeout);
    if (results.ok() && results->back().Int(0, 0) != 0) {
      ONCE_KILL_POINT("postgres.relay_acquired");
      const std::lock_guard lock(relay_mutex_);
      relay_ = *std::move(session);
      return true;
    }
  }
  Outbox::ReleaseRelay();
  return false;
}

void PostgresOutbox::ReleaseRelay() {
  Database::Lease session;
  {
    const std::lock_guard lock(relay_mutex_);
    session = std::move(relay_);
  }
  if (session) {
    session->Queue(database_->statements().release_relay);
    // A session that is lost has lost the lock with it.
    session->Run(database_->options().answer_timeout).status().IgnoreError();
  }
  Outbox::ReleaseRelay();
}

absl::Status PostgresOutbox::OnSession(std::string_view operation,
                                       absl::FunctionRef<absl::Status(Session&)> work) {
  {
    const std::lock_guard lock(relay_mutex_);
    if (relay_) {
      absl::Status done = work(*relay_);
      relay_->DropQueued();
      if (!relay_->is_lost() && !relay_->is_idle()) {
        relay_->Queue(database_->statements().rollback);
        // A session that cannot even do this is lost, and says so when it is asked again.
        relay_->Run(database_->options().answer_timeout).status().IgnoreError();
      }
      return done;
    }
  }
  auto session = database_->Acquire(operation);
  if (!session.ok()) return session.status();
  return work(**session);
}

absl::StatusOr<std::vector<Result>> PostgresOutbox::Ask(const Statement& statement, Params params) {
  absl::StatusOr<std::vector<Result>> results = absl::UnknownError("not asked");
  absl::Status asked = OnSession(statement.operation, [&](Session& session) {
    session.Queue(statement, std::move(params));
    results = session.Run(database_->options().answer_timeout);
    return results.status();
  });
  if (!asked.ok()) return asked;
  return results;
}

absl::StatusOr<std::vector<PendingRow>> PostgresOutbox::FindPending(std::size_t rows_max) {
  const auto limit = static_cast<std::int64_t>(std::min(rows_max, kRowsMax));
  const auto results = Ask(database_->statements().find_pending, std::move(Params().Int8(limit)));
  if (!results.ok()) return results.status();
  const Result& found = results->back();
  std::vector<PendingRow> rows;
  const std::lock_guard lock(mutex_);
  for (int row = 0; row < found.rows(); ++row) {
    const std::int64_t sequence = found.Int(row, 0);
    absl::StatusOr<OutgoingMessage> message = stores::DecodeMessage(found.Bytes(row, 1));
    if (!message.ok()) {
      return absl::DataLossError(absl::StrCat("postgres: outbox row ", sequence, " ",
                                              database_->where(), " is damaged; restore a backup"));
    }
    rows.push_back({.sequence = sequence, .message = *std::move(message)});
    origins_[sequence] = std::string(found.Bytes(row, 2));
  }
  while (origins_.size() > std::max(kOriginsMax, rows.size())) origins_.erase(origins_.begin());
  return rows;
}

absl::StatusOr<std::size_t> PostgresOutbox::CountPending() {
  const auto results = Ask(database_->statements().count_pending, {});
  if (!results.ok()) return results.status();
  return static_cast<std::size_t>(results->back().Int(0, 0));
}

std::string PostgresOutbox::OriginOf(std::int64_t sequence) {
  const std::lock_guard lock(mutex_);
  const auto found = origins_.find(sequence);
  return found == origins_.end() ? std::string() : found->second;
}

absl::Status PostgresOutbox::Write(const Statement& statement, Params params) {
  return OnSession(statement.operation, [&](Session& session) {
    session.Queue(database_->statements().begin);
    session.Queue(statement, std::move(params));
    return database_->Commit(session, Durability::kMachine, "");
  });
}

absl::Status PostgresOutbox::MarkPublished(std::span<const std::int64_t> sequences) {
  if (sequences.empty()) return absl::OkStatus();
  Column numbers(Column::Type::kInt8);
  Column origins(Column::Type::kBytes);
  for (const std::int64_t sequence : sequences) {
    numbers.Add(sequence);
    origins.AddBytes(OriginOf(sequence));
  }
  absl::Status marked = Write(database_->statements().mark_published,
                              std::move(Params().Array(numbers).Array(origins)));
  if (!marked.ok()) return marked;
  const std::lock_guard lock(mutex_);
  for (const std::int64_t sequence : sequences) origins_.erase(sequence);
  return absl::OkStatus();
}

absl::Status PostgresOutbox::Park(std::int64_t sequence, const absl::Status& reason) {
  return Write(
      database_->statements().park,
      std::move(Params().Int8(sequence).Bytes(OriginOf(sequence)).Bytes(reason.ToString())));
}

}  // namespace once::postgres
