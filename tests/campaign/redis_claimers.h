// Claimers are several openings of one Redis claim store, each on a thread of its own as if it were
// a process, that claim, begin, do and complete the same ids in batches. Each keeps its fences and
// repeats a word until it is answered, as a consumer does; nobody dies and no lease ends. So every
// id has exactly one effect, whatever happens to the server and to connections, unless the store is
// wrong or has lost what it was told.
// Thread-safety: one thread at a time; the claimers' own threads work meanwhile.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "once/dedup_store.h"
#include "tests/campaign/campaign.h"

namespace once::campaign {

class RedisClaimers {
 public:
  // They begin at once.
  RedisClaimers(std::string url, std::uint64_t seed);

  // No new ids from now on; returns when all that were begun are settled. What is wrong goes into
  // the report: ids without an effect are lost, second effects are duplicates.
  void Finish(CampaignReport& report);

  std::int64_t completed() const { return completed_; }
  // Until more is completed than when it was called; false: nothing was, for so long.
  bool AwaitWork(absl::Duration patience) const;
  // Where the server keeps an id, by its number.
  static std::string KeyOf(std::int64_t id);

 private:
  // By id: how often its effect happened.
  using Effects = std::vector<std::atomic<int>>;

  void Work(std::uint64_t seed);
  // From claim to completion of a span of ids; false: some are with somebody else.
  bool Settle(ClaimStore& claims, std::int64_t first, std::int64_t count);
  bool Complete(ClaimStore& claims, const std::vector<Claim>& held);
  void Complain(const std::string& what);

  const std::string url_;
  Effects effects_;
  std::atomic<bool> is_ending_ = false;
  std::atomic<std::int64_t> next_ = 0;  // ids below it were handed out
  std::atomic<std::int64_t> completed_ = 0;
  std::atomic<std::int64_t> unknown_ = 0;  // calls whose answer was lost
  std::mutex mutex_;
  std::vector<std::string> complaints_;
  std::vector<std::jthread> threads_;  // last: joined first
};

}  // namespace once::campaign
