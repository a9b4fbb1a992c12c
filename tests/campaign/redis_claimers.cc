// What a claimer does with a batch, word by word.
#include "tests/campaign/redis_claimers.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/redis/keys.h"
#include "once/redis/store.h"
#include "tests/campaign/disk.h"

namespace once::campaign {
namespace {

constexpr int kClaimers = 3;
constexpr std::int64_t kIdsMax = 4'000'000;
constexpr std::int64_t kBatchMax = 40;
constexpr absl::Duration kLease = absl::Hours(1);  // does not end here
constexpr absl::Duration kPause = absl::Milliseconds(1);
constexpr absl::Duration kPatience = absl::Minutes(2);
constexpr std::size_t kViolationsMax = 20;
constexpr const char* kScope = "campaign";

// Says the same thing until it is answered. `was_lost`: an answer before was.
template <typename Word>
absl::Status Repeat(const Word& word, bool& was_lost) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (true) {
    absl::Status said = word();
    was_lost = was_lost || absl::IsUnknown(said);
    const bool is_passing = absl::IsUnknown(said) || absl::IsUnavailable(said);
    if (!is_passing || absl::Now() > deadline) return said;
    absl::SleepFor(kPause);
  }
}

std::shared_ptr<DedupStore> OpenPatiently(const std::string& url) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (true) {
    auto store = redis::OpenStore({.url = url});
    if (store.ok()) return *std::move(store);
    if (absl::Now() > deadline) return nullptr;
    absl::SleepFor(kPause);
  }
}

}  // namespace

RedisClaimers::RedisClaimers(std::string url, std::uint64_t seed)
    : url_(std::move(url)), effects_(kIdsMax) {
  for (std::uint64_t i = 0; i < kClaimers; ++i) {
    threads_.emplace_back([this, number = seed + i] { Work(number); });
  }
}

bool RedisClaimers::AwaitWork(absl::Duration patience) const {
  const std::int64_t before = completed();
  const absl::Time deadline = absl::Now() + patience;
  while (completed() == before && absl::Now() < deadline) {
    absl::SleepFor(absl::Microseconds(200));
  }
  return completed() != before;
}

std::string RedisClaimers::KeyOf(std::int64_t id) {
  const std::string text = absl::StrCat(id);
  const redis::KeyNames names(redis::StoreOptions{}.key_prefix);
  return names.OfId({.scope = kScope, .id = text});
}

void RedisClaimers::Complain(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (complaints_.size() < kViolationsMax) complaints_.push_back(what);
}

// Every span of ids is gone through by all claimers, at about the same time.
void RedisClaimers::Work(std::uint64_t seed) {
  const std::shared_ptr<DedupStore> store = OpenPatiently(url_);
  if (store == nullptr) return Complain("the store does not open");
  Dice dice(seed);
  for (std::int64_t first = 0; first < kIdsMax - kBatchMax;) {
    if (is_ending_ && first >= next_) return;
    const std::int64_t count = 1 + dice.Below(kBatchMax);
    std::int64_t seen = next_;
    while (!is_ending_ && seen < first + count &&
           !next_.compare_exchange_weak(seen, first + count)) {
    }
    const std::int64_t end = std::min(first + count, next_.load());
    const absl::Time deadline = absl::Now() + kPatience;
    while (!Settle(*store->claims(), first, end - first)) {
      if (absl::Now() > deadline)
        return Complain(absl::StrCat("ids from ", first, " stay claimed"));
      absl::SleepFor(kPause);
    }
    bool was_lost = false;
    const absl::Status synced = Repeat([&] { return store->claims()->Sync(); }, was_lost);
    if (!synced.ok()) return Complain(synced.ToString());
    first = end;
  }
  Complain("more ids than were foreseen");
}

bool RedisClaimers::Settle(ClaimStore& claims, std::int64_t first, std::int64_t count) {
  std::vector<std::string> ids;
  for (std::int64_t id = first; id < first + count; ++id) ids.push_back(absl::StrCat(id));
  std::vector<ClaimRequest> requests;
  for (const std::string& id : ids) {
    requests.push_back({.key = {.scope = kScope, .id = id},
                        .fingerprint = Fingerprint::Of(id),
                        .fence = claims.NewFence()});
  }
  std::vector<ClaimResult> results(ids.size());
  bool was_lost = false;
  const absl::Status claimed =
      Repeat([&] { return claims.TryClaim(requests, kLease, results); }, was_lost);
  if (was_lost) ++unknown_;
  if (!claimed.ok()) return Complain(claimed.ToString()), true;
  std::vector<Claim> held;
  bool is_settled = true;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const ClaimVerdict verdict = results[i].verdict;
    if (verdict == ClaimVerdict::kFresh) {
      held.push_back({.key = requests[i].key, .fence = requests[i].fence});
    } else if (verdict == ClaimVerdict::kInProgress) {
      is_settled = false;
    } else if (verdict != ClaimVerdict::kDuplicate || results[i].result != ids[i]) {
      Complain(absl::StrCat("id ", ids[i], " has verdict ", static_cast<int>(verdict),
                            " and result ", results[i].result));
    }
  }
  return Complete(claims, held) && is_settled;
}

bool RedisClaimers::Complete(ClaimStore& claims, const std::vector<Claim>& held) {
  std::vector<absl::Status> outcomes(held.size());
  bool was_lost = false;
  const absl::Status begun = Repeat([&] { return claims.Begun(held, outcomes); }, was_lost);
  if (!begun.ok()) return Complain(begun.ToString()), true;
  std::vector<CompletedClaim> completed;
  for (std::size_t i = 0; i < held.size(); ++i) {
    if (!outcomes[i].ok()) Complain(outcomes[i].ToString());
    std::int64_t id = 0;
    if (absl::SimpleAtoi(std::string(held[i].key.id), &id)) {
      ++effects_[static_cast<std::size_t>(id)];
    }
    completed.push_back({.claim = held[i], .result = held[i].key.id});
  }
  was_lost = false;
  const absl::Status done = Repeat([&] { return claims.Complete(completed, outcomes); }, was_lost);
  if (was_lost) ++unknown_;
  if (!done.ok()) return Complain(done.ToString()), true;
  for (const absl::Status& outcome : outcomes) {
    // After a lost answer "not yours" may also mean that the first try was heard.
    const bool is_right = outcome.ok() || (was_lost && absl::IsAborted(outcome));
    if (!is_right) Complain(outcome.ToString());
  }
  completed_ += static_cast<std::int64_t>(held.size());
  return true;
}

void RedisClaimers::Finish(CampaignReport& report) {
  is_ending_ = true;
  threads_.clear();
  const std::int64_t ids = next_;
  report.messages += ids;
  for (std::int64_t id = 0; id < ids; ++id) {
    const int effects = effects_[static_cast<std::size_t>(id)];
    if (effects == 1) continue;
    report.lost += effects == 0 ? 1 : 0;
    report.duplicate_effects += std::max(0, effects - 1);
    if (report.violations.size() >= kViolationsMax) continue;
    report.violations.push_back(absl::StrCat("id ", id, " has ", effects, " effects"));
  }
  report.violations.insert(report.violations.end(), complaints_.begin(), complaints_.end());
  report.extras["answers_lost"] = unknown_.load();
}

}  // namespace once::campaign
