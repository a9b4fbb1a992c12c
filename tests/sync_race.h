// A race, on real threads, of commits that only the process needs to survive, of syncs beside them,
// and of whatever else moves rows about in a store: checkpoints, flushes, compactions. In the midst
// of it the machine loses its power. What had been acknowledged by then must be there.
// Thread-safety: none; the threads are its own, and have ended when it returns.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "once/dedup_store.h"
#include "src/stores/id_log/id_log.h"

namespace once::testing {

// With which a few dozen commits seal ids, and runs are merged.
inline stores::IdLogOptions RaceIdLogOptions() {
  return {.recent = {.bytes_max = 4096, .chunk_bytes = 512},
          .reload_bytes = 1024,
          .page_bytes = 512,
          .merge = {.runs_max = 3},
          .seal_bytes = 16384,
          .seal_segments = 41};
}

struct SyncRace {
  TransactionalStore& store;
  // Commits the n-th row and its id. Called by one thread, in the order of numbers.
  std::function<absl::Status(int number, Durability wanted)> commit;
  int first = 1;
  // So many rows more are to be acknowledged before the power fails.
  int acknowledged = 100;
  // Each again and again, every few commits, by a thread of its own, until the power has failed.
  std::vector<std::function<void()>> disturbances;
  // The power fails now. What the store says from then on nobody hears.
  std::function<void()> lose_power;
};

class SyncRaceRun {
 public:
  explicit SyncRaceRun(const SyncRace& race)
      : race_(race), answered_(race.first - 1), acknowledged_(race.first - 1) {}

  // The last row that was acknowledged while there was power; all before it were, too.
  int Run() {
    {
      std::vector<std::jthread> threads;
      threads.emplace_back([this] { Commit(); });
      threads.emplace_back([this] { Sync(); });
      for (const auto& disturb : race_.disturbances) {
        threads.emplace_back([this, &disturb] { Disturb(disturb); });
      }
      LosePower();
    }
    EXPECT_GT(syncs_, 0) << "nothing was synced beside a transaction";
    return acknowledged_;
  }

 private:
  static constexpr std::chrono::minutes kPatience{2};
  // Every so many commits one waits for the disk itself …
  static constexpr int kCommitsPerSynced = 37;
  // … and this many come between two disturbances, most of which sync as well: a sync that does
  // nothing must show.
  static constexpr int kCommitsPerDisturbance = 23;

  void Commit() {
    int number = race_.first;
    while (!is_off()) {
      const bool is_synced = number % kCommitsPerSynced == 0;
      const absl::Status committed =
          race_.commit(number, is_synced ? Durability::kMachine : Durability::kProcess);
      // A checkpoint by somebody else holds the lock for a moment.
      if (absl::IsUnavailable(committed) && !is_off()) continue;
      if (!committed.ok()) return Complain("commit", committed);
      {
        const std::lock_guard lock(mutex_);
        answered_ = number;
        changed_.notify_all();
      }
      if (is_synced) Acknowledge(number);
      ++number;
    }
  }

  void Sync() {
    while (!is_off()) {
      const int answered = answered_;
      const absl::Status synced = race_.store.Sync();
      if (!synced.ok()) return Complain("sync", synced);
      ++syncs_;
      Acknowledge(answered);
    }
  }

  void Disturb(const std::function<void()>& disturb) {
    std::unique_lock lock(mutex_);
    while (!is_off_) {
      lock.unlock();
      disturb();
      lock.lock();
      const int enough = answered_ + kCommitsPerDisturbance;
      changed_.wait(lock, [&] { return is_off_ || answered_ >= enough; });
    }
  }

  void Acknowledge(int number) {
    const std::lock_guard lock(mutex_);
    if (is_off_) return;
    acknowledged_ = std::max(acknowledged_, number);
    changed_.notify_all();
  }

  void Complain(const char* operation, const absl::Status& status) {
    const std::lock_guard lock(mutex_);
    if (is_off_) return;  // nothing works without power
    ADD_FAILURE() << operation << ": " << status;
    has_failed_ = true;  // and the power goes
    changed_.notify_all();
  }

  void LosePower() {
    std::unique_lock lock(mutex_);
    const int enough = race_.first - 1 + race_.acknowledged;
    const bool is_in_time =
        changed_.wait_for(lock, kPatience, [&] { return has_failed_ || acknowledged_ >= enough; });
    EXPECT_TRUE(is_in_time) << "row " << acknowledged_ << " is the last that was acknowledged";
    race_.lose_power();
    is_off_ = true;
    changed_.notify_all();
  }

  bool is_off() {
    const std::lock_guard lock(mutex_);
    return is_off_;
  }

  const SyncRace& race_;
  std::atomic<int> answered_;
  std::atomic<int> syncs_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  int acknowledged_;
  bool has_failed_ = false;
  bool is_off_ = false;
};

}  // namespace once::testing
