// The log between the store's transactions and its background task.
#include "adapters/sqlite/store_ids.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/sqlite/connection_ids.h"
#include "adapters/sqlite/database.h"
#include "adapters/sqlite/position_rows.h"
#include "src/stores/retention.h"

namespace once::sqlite {
namespace {

// Few enough bytes that sorting them takes little memory and time.
constexpr std::uint64_t kSealBytes = std::uint64_t{16} << 20;

std::optional<stores::IdLogOptions>& IdLogOptionsOfTest() {
  static auto* const options = new std::optional<stores::IdLogOptions>;
  return *options;
}

}  // namespace

void SetIdLogOptionsForTest(std::optional<stores::IdLogOptions> options) {
  IdLogOptionsOfTest() = std::move(options);
}

absl::StatusOr<stores::IdLogOptions> IdLogOptionsFor(const StoreOptions& options,
                                                     sqlite3* connection) {
  const auto page_bytes = FindRunPageBytes(connection, options.path);
  if (!page_bytes.ok()) return page_bytes.status();
  const stores::IdLogOptions ours{
      .recent = {.bytes_max = static_cast<std::size_t>(options.recent_ids_bytes)},
      .page_bytes = *page_bytes,
      .filter_bits = options.filter_bits,
      .merge = {.runs_max = static_cast<std::size_t>(options.runs_max)},
      .seal_bytes = kSealBytes};
  stores::IdLogOptions chosen = IdLogOptionsOfTest().value_or(ours);
  chosen.merge.span_max_ms = stores::MergeSpan(options.retention);
  return chosen;
}

absl::Status StoreIds::Open(const StoreOptions& options) {
  retention_ = options.retention;
  if (absl::Status opened = storage_.Open(options.busy_timeout); !opened.ok()) return opened;
  const auto log_options = IdLogOptionsFor(options, database_.writer());
  if (!log_options.ok()) return log_options.status();
  auto log = stores::IdLog::Open(storage_, *log_options);
  if (!log.ok()) {
    return absl::Status(log.status().code(), absl::StrCat("sqlite: open ", database_.path(), ": ",
                                                          log.status().message()));
  }
  log_ = *std::move(log);
  return absl::OkStatus();
}

void StoreIds::StartUpkeep() {
  upkeep_ = std::make_unique<stores::IdUpkeep>(static_cast<stores::IdOwner&>(*this));
  if (log_->is_upkeep_due()) upkeep_->Wake();
}

absl::Status StoreIds::Write(stores::IdChanges& changes, std::int64_t log_time_ms) {
  absl::Status written = log_->WriteSegment(changes, log_time_ms);
  const absl::Status upkeep = upkeep_->status();
  if (!absl::IsResourceExhausted(written) || upkeep.ok()) return written;
  return absl::ResourceExhaustedError(
      absl::StrCat(written.message(), "; the background task says: ", upkeep.message()));
}

void StoreIds::Committed(stores::IdChanges changes) {
  bool is_upkeep_due = false;
  {
    const std::unique_lock lock(mutex_);
    log_->Committed(std::move(changes));
    is_upkeep_due = log_->is_upkeep_due();
  }
  if (is_upkeep_due) upkeep_->Wake();
}

absl::Status StoreIds::CatchUp() {
  const std::unique_lock lock(mutex_);
  return log_->Resync();
}

absl::Status StoreIds::InTurn(std::string_view operation,
                              absl::FunctionRef<absl::Status(stores::IdLog&)> change) {
  return database_.RunForUpkeep(operation, [&] {
    const std::unique_lock lock(mutex_);
    return change(*log_);
  });
}

absl::StatusOr<std::optional<std::int64_t>> StoreIds::FindExpiryLimit() {
  if (retention_ == absl::InfiniteDuration()) return std::nullopt;
  Database::ReadScope reading(database_);
  if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
  const auto positions = ListPositions(reading.statements().list_positions);
  if (!positions.ok()) return positions.status();
  return stores::ExpiryLimit(*positions, retention_);
}

absl::Status StoreIds::OutOfTurn(absl::FunctionRef<absl::Status(stores::IdLog&)> change) {
  const std::unique_lock lock(mutex_);
  return change(*log_);
}

}  // namespace once::sqlite
