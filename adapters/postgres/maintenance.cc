// Figures, and what is left to the server's own tools.
#include "adapters/postgres/maintenance.h"

#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/verification.h"
#include "once/abseil.h"

namespace once::postgres {
namespace {

// Of the largest table.
constexpr absl::Duration kVacuumMax = absl::Hours(24);

absl::Status Cancelled(const std::string& operation) {
  return absl::CancelledError(absl::StrCat("postgres: ", operation, ": given up on request"));
}

// The sum of one column.
std::int64_t SumOf(const Result& rows, int column) {
  std::int64_t sum = 0;
  for (int row = 0; row < rows.rows(); ++row) sum += rows.Int(row, column);
  return sum;
}

// Those in the bucket that is never dropped, where there is one.
std::int64_t PermanentIds(const Result& buckets) {
  const bool is_there = buckets.rows() > 0 && buckets.Int(0, 0) == kPermanentBucket;
  return is_there ? buckets.Int(0, 2) : 0;
}

}  // namespace

absl::StatusOr<std::vector<StoreFigure>> PostgresMaintenance::ReadFigures() {
  const auto session = database_->ConnectAside();
  if (!session.ok()) return session.status();
  (*session)->Queue(database_->statements().measure_buckets);
  (*session)->Queue(database_->statements().measure_rest);
  const auto results = (*session)->Run(database_->options().answer_timeout);
  if (!results.ok()) return results.status();
  const Result& buckets = results->front();
  const Result& rest = results->back();
  std::vector<StoreFigure> figures = {
      {"ids_estimated_count", SumOf(buckets, 2)},
      {"undated_ids_estimated_count", SumOf(buckets, 3)},
      {"permanent_ids_estimated_count", PermanentIds(buckets)},
      {"ids_bytes", SumOf(buckets, 4)},
      {"id_indexes_bytes", SumOf(buckets, 5)},
      {"outbox_bytes", rest.Int(0, 0)},
      {"outbox_pending_count", rest.Int(0, 1)},
      {"letters_kept_count", rest.Int(0, 2)},
      {"positions_count", rest.Int(0, 3)},
      {"positions_without_log_time_count", rest.Int(0, 4)},
      {"upkeep_errors_count", rest.Int(0, 5)},
      {"buckets_count", buckets.rows()},
  };
  for (int row = 0; row < buckets.rows(); ++row) {
    const std::string bucket = absl::StrCat("bucket_", buckets.Int(row, 0));
    figures.push_back({bucket + "_ids_estimated_count", buckets.Int(row, 2)});
    const std::int64_t closed_at = buckets.Int(row, 1);
    const bool is_dated =
        !buckets.IsNull(row, 1) && closed_at != std::numeric_limits<std::int64_t>::max();
    if (is_dated) figures.push_back({bucket + "_log_time_max_ms", closed_at});
  }
  return figures;
}

absl::StatusOr<std::vector<std::string>> PostgresMaintenance::Verify(const std::stop_token& stop) {
  const std::string operation = absl::StrCat("verify ", database_->where());
  const auto session = database_->ConnectAside();
  if (!session.ok()) return session.status();
  (*session)->EndWaitsAt(stop);
  // What the indexes find is to be seen, also where a table is small.
  (*session)->QueueText("SET enable_seqscan TO off", operation);
  const absl::Status set = (*session)->Run(database_->options().answer_timeout).status();
  if (stop.stop_requested()) return Cancelled(operation);
  if (!set.ok()) return set;
  auto findings = Verification(*database_, **session, stop).Run();
  if (stop.stop_requested()) return Cancelled(operation);
  return findings;
}

absl::Status PostgresMaintenance::Compact(const std::stop_token& stop) {
  const std::string operation = absl::StrCat("compact ", database_->where());
  const auto session = database_->ConnectAside();
  if (!session.ok()) return session.status();
  (*session)->EndWaitsAt(stop);
  // An autovacuum gives way only to who waits longer for it than for a deadlock.
  (*session)->QueueText("SET lock_timeout TO 0", "compact");
  (*session)->QueueText("SET statement_timeout TO 0", "compact");
  absl::Status done = (*session)->Run(database_->options().answer_timeout).status();
  for (const char* table :
       {"known_ids", "outbox", "positions", "scopes", "openings", "buckets", "notes", "outgoing",
        "outgoing_lanes", "outgoing_facts", "outgoing_streams", "outgoing_voids"}) {
    if (!done.ok() || stop.stop_requested()) break;
    // Not within a transaction: each goes alone.
    (*session)->QueueText(
        absl::StrCat("VACUUM (ANALYZE) ", database_->options().schema, ".", table), "compact");
    done = (*session)->Run(kVacuumMax).status();
  }
  if (!stop.stop_requested()) return done;
  (*session)->CancelOnServer();
  return Cancelled(operation);
}

absl::Status PostgresMaintenance::Backup(const std::string& path, const std::stop_token&) {
  return absl::FailedPreconditionError(
      absl::StrCat("postgres: back up ", database_->where(), " to ", path,
                   ": a copy without the tables of your handlers would be of another moment than "
                   "these; copy the "
                   "whole server with pg_basebackup, or its database with pg_dump, which takes "
                   "both as they were "
                   "at one moment"));
}

}  // namespace once::postgres
