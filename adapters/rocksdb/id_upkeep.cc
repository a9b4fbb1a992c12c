// One thread, asleep but for once in hundreds of thousands of ids.
#include "adapters/rocksdb/id_upkeep.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "adapters/rocksdb/database.h"
#include "adapters/rocksdb/rows.h"
#include "src/stores/retention.h"
#include "src/test_hooks.h"

namespace once::rocksdb {
namespace {

// About what one commit of many messages writes, so that nobody waits much longer for it.
constexpr std::size_t kStepBytes = 256 * 1024;
constexpr std::size_t kDroppedAtATime = 1024;

constexpr absl::Duration kPauseMin = absl::Milliseconds(100);
constexpr absl::Duration kPauseMax = absl::Seconds(30);

absl::Status OpenedAgain() {
  return absl::UnavailableError("rocksdb: seal ids: the folder was opened again meanwhile");
}

}  // namespace

IdUpkeep::IdUpkeep(Database& database) : database_(database), thread_([this] { Run(); }) {}

IdUpkeep::~IdUpkeep() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void IdUpkeep::Wake() {
  {
    const std::lock_guard lock(mutex_);
    is_woken_ = true;
  }
  changed_.notify_all();
}

absl::Status IdUpkeep::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

bool IdUpkeep::is_stopping() const {
  const std::lock_guard lock(mutex_);
  return is_stopping_;
}

bool IdUpkeep::Wait(absl::Duration pause) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, absl::ToChronoNanoseconds(pause), [this] { return is_stopping_; });
  changed_.wait(lock, [this] { return is_stopping_ || is_woken_; });
  is_woken_ = false;
  return !is_stopping_;
}

void IdUpkeep::Run() {
  absl::Duration pause = absl::ZeroDuration();
  while (Wait(pause)) {
    absl::Status worked = Work();
    const std::lock_guard lock(mutex_);
    // What failed is still to be done.
    is_woken_ = is_woken_ || !worked.ok();
    pause = worked.ok() ? absl::ZeroDuration() : std::clamp(2 * pause, kPauseMin, kPauseMax);
    status_ = std::move(worked);
  }
}

absl::Status IdUpkeep::Work() {
  while (!is_stopping()) {
    if (absl::Status expired = Expire(); !expired.ok()) return expired;
    if (absl::Status dropped = DropAll(); !dropped.ok()) return dropped;
    auto compaction = Start();
    if (!compaction.ok() || *compaction == nullptr) return compaction.status();
    // Pages are gone if the folder is opened again: nothing has synced them.
    const std::uint64_t reopenings = database_.reopenings();
    const absl::Status advanced = Advance(**compaction, reopenings);
    ONCE_KILL_POINT("rocksdb.pages_written");
    const absl::Status finished = Finish(*std::move(compaction), reopenings);
    ONCE_KILL_POINT("rocksdb.manifest_switched");
    if (!advanced.ok() || !finished.ok()) return advanced.ok() ? finished : advanced;
  }
  return absl::OkStatus();
}

absl::Status IdUpkeep::Expire() {
  const absl::Duration retention = database_.options().retention;
  if (retention == absl::InfiniteDuration()) return absl::OkStatus();
  if (absl::Status begun = database_.Begin("forget ids"); !begun.ok()) return begun;
  const auto positions = ListPositions(View(database_.open_db(), nullptr, nullptr));
  absl::Status expired = positions.status();
  std::optional<std::int64_t> limit;
  if (positions.ok()) limit = stores::ExpiryLimit(*positions, retention);
  if (limit) {
    expired = database_.ChangeIds([&](stores::IdLog& ids) { return ids.Expire(*limit); });
  }
  database_.Leave();
  return expired;
}

absl::Status IdUpkeep::DropAll() {
  for (bool is_done = false; !is_done && !is_stopping();) {
    const auto may_remove = database_.TryRemoveFiles();
    if (!may_remove.owns_lock()) break;  // later
    if (absl::Status begun = database_.Begin("remove ids"); !begun.ok()) return begun;
    const absl::StatusOr<bool> dropped =
        database_.ChangeIds([](stores::IdLog& ids) { return ids.DropSome(kDroppedAtATime); });
    database_.Leave();
    if (!dropped.ok()) return dropped.status();
    is_done = *dropped;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<stores::Compaction>> IdUpkeep::Start() {
  if (absl::Status begun = database_.Begin("seal ids"); !begun.ok()) return begun;
  auto compaction = database_.ChangeIds([](stores::IdLog& ids) { return ids.StartCompaction(); });
  database_.Leave();
  return compaction;
}

absl::Status IdUpkeep::Advance(stores::Compaction& compaction, std::uint64_t reopenings) {
  while (!compaction.is_over() && !is_stopping()) {
    const Database::ReadScope reading(database_);
    if (absl::Status check = reading.Check(); !check.ok()) return check;
    if (database_.reopenings() != reopenings) return OpenedAgain();
    if (absl::Status stepped = compaction.Step(kStepBytes); !stepped.ok()) return stepped;
  }
  return absl::OkStatus();
}

absl::Status IdUpkeep::Finish(std::unique_ptr<stores::Compaction> compaction,
                              std::uint64_t reopenings) {
  const absl::Status begun = database_.Begin("seal ids");
  if (!begun.ok()) {
    compaction->GiveUp(begun);
  } else if (database_.reopenings() != reopenings) {
    compaction->GiveUp(OpenedAgain());
  }
  absl::Status finished = database_.ChangeIds(
      [&](stores::IdLog& ids) { return ids.FinishCompaction(std::move(compaction)); });
  if (begun.ok()) database_.Leave();
  return finished;
}

}  // namespace once::rocksdb
