// A LeaseKeeper renews the claims that this process holds, every third of their lease, on a task
// of its own. Whose claim is gone is told through the stop source that was given for it.
//
//   LeaseKeeper keeper({.store = claims, .executor = executor, .log = log, .lease = lease});
//   keeper.Start();
//   const LeaseKeeper::Hold hold = keeper.Keep(claim);   // until `hold` is destroyed
//   keeper.Watch(claim.fence, cancel);                   // while its handler runs
//
// Thread-safety: safe for concurrent use; Start() once, before anything is kept. It must outlive
// its holds.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/claims.h"
#include "once/executor.h"
#include "once/log.h"

namespace once {

// kInvalidArgument, saying why, unless a second <= `lease` <= a day.
absl::Status ValidateLease(absl::Duration lease);

struct LeaseKeeperOptions {
  ClaimStore& store;
  Executor& executor;
  LogSink& log;
  absl::Duration lease;
};

class LeaseKeeper {
 public:
  // A claim is renewed as long as this lives. Movable; empty after a move.
  class Hold {
   public:
    Hold() = default;
    Hold(LeaseKeeper& keeper, std::uint64_t counter) : keeper_(&keeper), counter_(counter) {}
    Hold(Hold&& other) noexcept
        : keeper_(std::exchange(other.keeper_, nullptr)), counter_(other.counter_) {}
    Hold& operator=(Hold&& other) noexcept {
      std::swap(keeper_, other.keeper_);
      std::swap(counter_, other.counter_);
      return *this;
    }
    ~Hold() {
      if (keeper_ != nullptr) keeper_->Forget(counter_);
    }

   private:
    LeaseKeeper* keeper_ = nullptr;
    std::uint64_t counter_ = 0;
  };

  explicit LeaseKeeper(const LeaseKeeperOptions& options);
  ~LeaseKeeper() { Stop(); }

  // Without it nothing is renewed: then whoever holds claims must be quicker than their lease.
  void Start();
  // Ends the task; nothing is renewed any more.
  void Stop();

  // REQUIRES: the fence came from the store's NewFence().
  [[nodiscard]] Hold Keep(const Claim& claim);

  // `lost` is stopped when a renewal finds that the claim is no longer ours. Replaces the former
  // source of that claim; one without a state ends the watch. Claims that are not kept are ignored.
  void Watch(const Fence& fence, std::stop_source lost);

 private:
  struct Kept {
    std::string scope;
    std::string id;
    Fence fence;
    std::stop_source lost{std::nostopstate};
  };

  void Forget(std::uint64_t counter);
  void RunTask();
  void RenewAll();
  void TellLost(std::span<const Claim> claims, std::span<const absl::Status> outcomes);

  const LeaseKeeperOptions options_;
  std::unique_ptr<Event> wake_;
  std::atomic<bool> is_stopping_ = false;

  std::mutex mutex_;                    // never held over a seam call
  std::map<std::uint64_t, Kept> kept_;  // by Fence::counter

  std::unique_ptr<Task> task_;  // last: joined before anything else goes
};

}  // namespace once
