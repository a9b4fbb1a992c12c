// One thread, asleep but for once in hundreds of thousands of ids.
#include "src/stores/id_log/id_upkeep.h"

#include <pthread.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace once::stores {
namespace {

// About what one commit of many messages writes, so that nobody waits much longer for it.
constexpr std::size_t kStepBytes = 256 * 1024;
constexpr std::size_t kDroppedAtATime = 1024;

constexpr absl::Duration kPauseMin = absl::Milliseconds(100);
constexpr absl::Duration kPauseMax = absl::Seconds(30);

absl::Status PagesAreGone() {
  return absl::UnavailableError("id log: seal ids: the store was opened again meanwhile");
}

}  // namespace

IdUpkeep::IdUpkeep(IdOwner& owner)
    : owner_(owner), thread_([this] {
        pthread_setname_np(pthread_self(), "once-upkeep");
        Run();
      }) {}

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
    const std::uint64_t generation = owner_.generation();
    const absl::Status advanced = Advance(**compaction, generation);
    const absl::Status finished = Finish(*std::move(compaction), generation);
    if (!advanced.ok() || !finished.ok()) return advanced.ok() ? finished : advanced;
  }
  return absl::OkStatus();
}

absl::Status IdUpkeep::Expire() {
  const auto limit = owner_.FindExpiryLimit();
  if (!limit.ok() || !*limit) return limit.status();
  return owner_.InTurn("forget ids", [&](IdLog& ids) { return ids.Expire(**limit); });
}

absl::Status IdUpkeep::DropAll() {
  for (bool is_done = false; !is_done && !is_stopping();) {
    const absl::Status dropped = owner_.InTurn("remove ids", [&](IdLog& ids) -> absl::Status {
      const absl::StatusOr<bool> is_gone = owner_.DropSome(ids, kDroppedAtATime);
      is_done = is_gone.ok() && *is_gone;
      return is_gone.status();
    });
    if (!dropped.ok()) return dropped;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Compaction>> IdUpkeep::Start() {
  std::unique_ptr<Compaction> compaction;
  const absl::Status started = owner_.InTurn("seal ids", [&](IdLog& ids) {
    compaction = ids.StartCompaction();
    return absl::OkStatus();
  });
  if (!started.ok()) return started;
  return compaction;
}

absl::Status IdUpkeep::Advance(Compaction& compaction, std::uint64_t generation) {
  while (!compaction.is_over() && !is_stopping()) {
    const absl::Status stepped = owner_.Beside([&] {
      return owner_.generation() == generation ? compaction.Step(kStepBytes) : PagesAreGone();
    });
    if (!stepped.ok()) return stepped;
  }
  return absl::OkStatus();
}

absl::Status IdUpkeep::Finish(std::unique_ptr<Compaction> compaction, std::uint64_t generation) {
  const auto finish = [&](IdLog& ids) {
    if (owner_.generation() != generation) compaction->GiveUp(PagesAreGone());
    return ids.FinishCompaction(std::move(compaction));
  };
  absl::Status finished = owner_.InTurn("seal ids", finish);
  if (compaction == nullptr) return finished;
  compaction->GiveUp(finished);
  return owner_.OutOfTurn(finish);
}

}  // namespace once::stores
