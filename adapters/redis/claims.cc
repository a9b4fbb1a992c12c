// Claims as arguments of scripts, and what the scripts answer.
#include "adapters/redis/claims.h"

#include <cassert>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "adapters/redis/reply.h"
#include "adapters/redis/values.h"
#include "once/abseil.h"

namespace once::redis {
namespace {

const Claim& ClaimOf(const Claim& claim) { return claim; }
const Claim& ClaimOf(const CompletedClaim& completed) { return completed.claim; }
const Claim& ClaimOf(const FailedClaim& failed) { return failed.claim; }
const Claim& ClaimOf(const DyingClaim& dying) { return dying.claim; }

// nullopt: the script never answers so.
std::optional<ClaimResult> ResultOf(const Reply& reply) {
  constexpr std::size_t kParts = 6;
  const std::vector<Reply>& parts = reply.elements;
  if (parts.size() != kParts) return std::nullopt;
  const std::int64_t verdict = parts[0].integer;
  if (verdict < 0 || verdict > static_cast<std::int64_t>(ClaimVerdict::kPublish)) {
    return std::nullopt;
  }
  ClaimResult result{.verdict = static_cast<ClaimVerdict>(verdict),
                     .first_failed_at = TimeOf(parts[2].text),
                     .wait = absl::Microseconds(parts[3].integer),
                     .result = parts[5].text};
  int disposition = 0;
  const bool is_granted = result.verdict == ClaimVerdict::kFresh ||
                          result.verdict == ClaimVerdict::kTakeover ||
                          result.verdict == ClaimVerdict::kPublish;
  if (is_granted) result.attempt = static_cast<int>(parts[1].integer);
  if (absl::SimpleAtoi(parts[4].text, &disposition)) {
    result.disposition = static_cast<Disposition>(disposition);
  }
  return result;
}

absl::Status Unreadable(std::string_view operation) {
  return absl::UnknownError(absl::StrCat("redis: ", ToAbsl(operation),
                                         ": the answer is none that a script of ours gives"));
}

constexpr std::string_view kIsDying = "the claim is dying; only Kill() and Release() may follow";

}  // namespace

ScriptedClaims::ScriptedClaims(Cluster& cluster, const StoreOptions& options)
    : cluster_(cluster),
      keys_(options.key_prefix),
      scopes_(cluster, options.key_prefix),
      retention_(RetentionMilliseconds(options.retention)),
      clock_skew_(options.clock_skew) {}

Fence ScriptedClaims::NewFence() {
  return {.incarnation = cluster_.incarnation(), .counter = ++fences_};
}

ScriptCall ScriptedClaims::CallOf(const Claim& claim) const {
  const absl::Duration skew = clock_skew_ ? clock_skew_() : absl::ZeroDuration();
  return {.key = keys_.OfId(claim.key), .arguments = {Microseconds(skew), Text(claim.fence)}};
}

absl::Status ScriptedClaims::TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                                      std::span<ClaimResult> results) {
  assert(results.size() == requests.size());
  if (requests.empty()) return absl::OkStatus();
  std::vector<ScriptCall> calls;
  calls.reserve(requests.size());
  std::string_view noted;
  for (const ClaimRequest& request : requests) {
    if (calls.empty() || request.key.scope != noted) {
      noted = request.key.scope;
      const absl::Status done = scopes_.Note(noted);
      if (!done.ok()) return Annotate(done, "redis: claim: note the scope");
    }
    ScriptCall& call = calls.emplace_back(CallOf({.key = request.key, .fence = request.fence}));
    call.arguments.push_back(Text(request.fingerprint));
    call.arguments.push_back(Microseconds(lease));
  }
  const auto replies = cluster_.Run(ScriptName::kClaim, calls);
  if (!replies.ok()) return Annotate(replies.status(), "redis: claim");
  for (std::size_t i = 0; i < requests.size(); ++i) {
    std::optional<ClaimResult> result = ResultOf((*replies)[i]);
    if (!result) return Unreadable("claim");
    results[i] = *std::move(result);
  }
  return absl::OkStatus();
}

template <typename C, typename Arguments>
absl::Status ScriptedClaims::Say(ScriptName word, std::string_view operation,
                                 std::string_view refusal, std::span<const C> claims,
                                 std::span<absl::Status> outcomes, Arguments arguments) {
  assert(outcomes.size() == claims.size());
  if (claims.empty()) return absl::OkStatus();
  const std::string what = absl::StrCat("redis: ", ToAbsl(operation));
  std::vector<ScriptCall> calls;
  calls.reserve(claims.size());
  for (const C& claim : claims) {
    ScriptCall& call = calls.emplace_back(CallOf(ClaimOf(claim)));
    arguments(claim, call.arguments);
  }
  const auto replies = cluster_.Run(word, calls);
  if (!replies.ok()) return Annotate(replies.status(), what);
  for (std::size_t i = 0; i < claims.size(); ++i) {
    const Reply& reply = (*replies)[i];
    if (reply.kind != Reply::Kind::kInteger) return Unreadable(operation);
    const std::string id = Quoted(ClaimOf(claims[i]).key.id);
    outcomes[i] = absl::OkStatus();
    if (reply.integer == kLost) {
      outcomes[i] = absl::AbortedError(absl::StrCat(
          what, " ", id, ": the claim is lost: it was settled, or taken over after its lease"));
    } else if (reply.integer == kNotPermitted) {
      outcomes[i] =
          absl::FailedPreconditionError(absl::StrCat(what, " ", id, ": ", ToAbsl(refusal)));
    }
  }
  return absl::OkStatus();
}

absl::Status ScriptedClaims::Begun(std::span<const Claim> claims,
                                   std::span<absl::Status> outcomes) {
  return Say(ScriptName::kBegin, "record as begun", kIsDying, claims, outcomes,
             [](const Claim&, std::vector<std::string>&) {});
}

absl::Status ScriptedClaims::Renew(std::span<const Claim> claims, absl::Duration lease,
                                   std::span<absl::Status> outcomes) {
  return Say(ScriptName::kRenew, "renew claim", "", claims, outcomes,
             [&](const Claim&, std::vector<std::string>& arguments) {
               arguments.push_back(Microseconds(lease));
             });
}

absl::Status ScriptedClaims::Complete(std::span<const CompletedClaim> claims,
                                      std::span<absl::Status> outcomes) {
  for (const CompletedClaim& completed : claims) {
    if (completed.result.size() <= kClaimResultBytesMax) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("redis: complete ", Quoted(completed.claim.key.id), ": a result of ",
                     completed.result.size(), " bytes, at most ", kClaimResultBytesMax,
                     " are kept; keep it elsewhere and record where"));
  }
  return Say(ScriptName::kComplete, "complete", kIsDying, claims, outcomes,
             [&](const CompletedClaim& completed, std::vector<std::string>& arguments) {
               arguments.emplace_back(completed.result);
               arguments.push_back(retention_);
             });
}

absl::Status ScriptedClaims::Fail(std::span<const FailedClaim> claims,
                                  std::span<absl::Status> outcomes) {
  return Say(ScriptName::kFail, "record as failed", kIsDying, claims, outcomes,
             [](const FailedClaim& failed, std::vector<std::string>& arguments) {
               arguments.push_back(Microseconds(failed.delay));
               arguments.emplace_back(failed.is_charged ? "1" : "0");
               arguments.push_back(Text(failed.first_failed_at));
             });
}

absl::Status ScriptedClaims::Dying(std::span<const DyingClaim> claims,
                                   std::span<absl::Status> outcomes) {
  return Say(ScriptName::kDie, "record as dying", "", claims, outcomes,
             [](const DyingClaim& dying, std::vector<std::string>& arguments) {
               arguments.push_back(absl::StrCat(static_cast<int>(dying.disposition)));
               arguments.push_back(absl::StrCat(dying.attempt));
             });
}

absl::Status ScriptedClaims::Kill(std::span<const Claim> claims, std::span<absl::Status> outcomes) {
  const std::string uncertain = absl::StrCat(static_cast<int>(Disposition::kUncertain));
  return Say(ScriptName::kKill, "record as dead", "the claim is not dying; call Dying() first",
             claims, outcomes, [&](const Claim&, std::vector<std::string>& arguments) {
               arguments.push_back(uncertain);
             });
}

absl::Status ScriptedClaims::Discard(std::span<const Claim> claims,
                                     std::span<absl::Status> outcomes) {
  return Say(
      ScriptName::kDiscard, "discard", kIsDying, claims, outcomes,
      [&](const Claim&, std::vector<std::string>& arguments) { arguments.push_back(retention_); });
}

absl::Status ScriptedClaims::Release(std::span<const Claim> claims,
                                     std::span<absl::Status> outcomes) {
  return Say(ScriptName::kRelease, "release",
             "the handler has begun; Complete() or Fail() the claim instead", claims, outcomes,
             [](const Claim&, std::vector<std::string>&) {});
}

}  // namespace once::redis
