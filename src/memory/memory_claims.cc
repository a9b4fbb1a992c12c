// Claims in memory: each call is one turn at the contents.
#include "src/memory/memory_claims.h"

#include <cassert>
#include <cstddef>

#include "absl/strings/str_cat.h"

namespace once::memory {
namespace {

// Nothing here outlives the process, so counting the openings tells them apart.
std::uint64_t NextIncarnation() {
  static std::atomic<std::uint64_t> last = 0;
  return ++last;
}

// outcomes[i] = change(contents, claims[i], now), all in one turn.
template <typename C, typename F>
absl::Status ForEach(MemoryData& data, std::string_view operation, std::span<const C> claims,
                     std::span<absl::Status> outcomes, F&& change) {
  assert(outcomes.size() == claims.size());
  return data.Change(operation, [&](Contents& contents, absl::Time now) {
    for (std::size_t i = 0; i < claims.size(); ++i) {
      outcomes[i] = change(contents, claims[i], now);
    }
    return absl::OkStatus();
  });
}

}  // namespace

MemoryClaims::MemoryClaims(std::shared_ptr<MemoryData> data)
    : data_(std::move(data)), incarnation_(NextIncarnation()) {}

Fence MemoryClaims::NewFence() { return {.incarnation = incarnation_, .counter = ++last_counter_}; }

absl::Status MemoryClaims::TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                                    std::span<ClaimResult> results) {
  assert(results.size() == requests.size());
  return data_->Change("claim", [&](Contents& contents, absl::Time now) {
    for (std::size_t i = 0; i < requests.size(); ++i) {
      results[i] = contents.ids.TryClaim(requests[i], now, lease);
    }
    return absl::OkStatus();
  });
}

absl::Status MemoryClaims::Begun(std::span<const Claim> claims, std::span<absl::Status> outcomes) {
  return ForEach(
      *data_, "begun", claims, outcomes,
      [](Contents& contents, const Claim& claim, absl::Time) { return contents.ids.Begin(claim); });
}

absl::Status MemoryClaims::Renew(std::span<const Claim> claims, absl::Duration lease,
                                 std::span<absl::Status> outcomes) {
  return ForEach(*data_, "renew", claims, outcomes,
                 [&](Contents& contents, const Claim& claim, absl::Time now) {
                   return contents.ids.Renew(claim, now + lease);
                 });
}

absl::Status MemoryClaims::Complete(std::span<const CompletedClaim> claims,
                                    std::span<absl::Status> outcomes) {
  for (const CompletedClaim& completed : claims) {
    if (completed.result.size() <= kClaimResultBytesMax) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("memory: complete: a result of ", completed.result.size(), " bytes, at most ",
                     kClaimResultBytesMax, " are kept; keep it elsewhere and record where"));
  }
  return ForEach(*data_, "complete", claims, outcomes,
                 [](Contents& contents, const CompletedClaim& completed, absl::Time) {
                   return contents.ids.Complete(completed);
                 });
}

absl::Status MemoryClaims::Fail(std::span<const FailedClaim> claims,
                                std::span<absl::Status> outcomes) {
  return ForEach(*data_, "fail", claims, outcomes,
                 [](Contents& contents, const FailedClaim& failed, absl::Time now) {
                   return contents.ids.Fail(failed, now);
                 });
}

absl::Status MemoryClaims::Dying(std::span<const DyingClaim> claims,
                                 std::span<absl::Status> outcomes) {
  return ForEach(*data_, "dying", claims, outcomes,
                 [](Contents& contents, const DyingClaim& dying, absl::Time) {
                   absl::Status condemned = contents.ids.Condemn(dying);
                   if (condemned.ok() && dying.letter != nullptr) {
                     contents.outbox.KeepLetter(*dying.letter);
                   }
                   return condemned;
                 });
}

absl::Status MemoryClaims::Kill(std::span<const Claim> claims, std::span<absl::Status> outcomes) {
  return ForEach(*data_, "kill", claims, outcomes,
                 [](Contents& contents, const Claim& claim, absl::Time) {
                   absl::Status killed = contents.ids.Kill(claim);
                   const auto letter = contents.outbox.FindLetterOf(claim.key);
                   if (killed.ok() && letter) contents.outbox.MarkLetterPublished(*letter);
                   return killed;
                 });
}

absl::Status MemoryClaims::Discard(std::span<const Claim> claims,
                                   std::span<absl::Status> outcomes) {
  return ForEach(*data_, "discard", claims, outcomes,
                 [](Contents& contents, const Claim& claim, absl::Time) {
                   return contents.ids.Discard(claim);
                 });
}

absl::Status MemoryClaims::Release(std::span<const Claim> claims,
                                   std::span<absl::Status> outcomes) {
  return ForEach(*data_, "release", claims, outcomes,
                 [](Contents& contents, const Claim& claim, absl::Time) {
                   return contents.ids.Release(claim);
                 });
}

}  // namespace once::memory
