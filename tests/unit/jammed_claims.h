// JammedStore: a store with claims behind a door that a test can jam: its answers get lost, with or
// without having been heard inside, or the store is in trouble.
//
//   store->Jam("complete", {WordFate::kLostDone});   // the first Complete(); later ones are fine
//
// Thread-safety: like the in-memory store; Jam() before the calls it is for.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "once/memory/store.h"

namespace once {

// How one call of the store ends.
enum class WordFate : unsigned char {
  kHeard,
  kLostDone,    // it happened, and the answer is lost
  kLostUndone,  // it did not happen, and nobody says so
  kTrouble,     // it did not happen: unavailable
  kLeaseLost,   // it is answered as if the claim were somebody else's
};

class JammedStore final : public DedupStore, public ClaimStore {
 public:
  explicit JammedStore(std::shared_ptr<DedupStore> inner) : inner_(std::move(inner)) {}

  // The fates of the next calls of that name: "claim", "begun", "renew", "complete", "fail",
  // "dying", "kill", "discard", "release", "sync". What follows is heard.
  void Jam(const std::string& word, std::deque<WordFate> fates) {
    const std::lock_guard lock(mutex_);
    fates_[word] = std::move(fates);
  }
  // Called before every renewal.
  void OnRenew(std::function<void()> hook) { on_renew_ = std::move(hook); }

  // The names of all calls so far, renewals excepted.
  std::vector<std::string> words() const {
    const std::lock_guard lock(mutex_);
    return words_;
  }
  std::ptrdiff_t CountOf(const std::string& word) const {
    const std::lock_guard lock(mutex_);
    return std::count(words_.begin(), words_.end(), word);
  }

  StoreTraits traits() const override { return inner_->traits(); }
  ClaimStore* claims() override { return this; }

  Fence NewFence() override { return inner_->claims()->NewFence(); }
  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override {
    return Say("claim", {}, [&] { return inner_->claims()->TryClaim(requests, lease, results); });
  }
  absl::Status Begun(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    return Say("begun", outcomes, [&] { return inner_->claims()->Begun(claims, outcomes); });
  }
  absl::Status Renew(std::span<const Claim> claims, absl::Duration lease,
                     std::span<absl::Status> outcomes) override {
    if (on_renew_) on_renew_();
    return Say("renew", outcomes, [&] { return inner_->claims()->Renew(claims, lease, outcomes); });
  }
  absl::Status Complete(std::span<const CompletedClaim> claims,
                        std::span<absl::Status> outcomes) override {
    return Say("complete", outcomes, [&] { return inner_->claims()->Complete(claims, outcomes); });
  }
  absl::Status Fail(std::span<const FailedClaim> claims,
                    std::span<absl::Status> outcomes) override {
    return Say("fail", outcomes, [&] { return inner_->claims()->Fail(claims, outcomes); });
  }
  absl::Status Dying(std::span<const DyingClaim> claims,
                     std::span<absl::Status> outcomes) override {
    return Say("dying", outcomes, [&] { return inner_->claims()->Dying(claims, outcomes); });
  }
  absl::Status Kill(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    return Say("kill", outcomes, [&] { return inner_->claims()->Kill(claims, outcomes); });
  }
  absl::Status Discard(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    return Say("discard", outcomes, [&] { return inner_->claims()->Discard(claims, outcomes); });
  }
  absl::Status Release(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    return Say("release", outcomes, [&] { return inner_->claims()->Release(claims, outcomes); });
  }
  absl::Status Sync() override {
    return Say("sync", {}, [&] { return inner_->claims()->Sync(); });
  }

 private:
  absl::Status Say(const std::string& word, std::span<absl::Status> outcomes,
                   const std::function<absl::Status()>& call) {
    switch (NextFate(word)) {
      case WordFate::kHeard:
        return call();
      case WordFate::kLostDone:
        call().IgnoreError();
        return absl::UnknownError("the connection was lost");
      case WordFate::kLostUndone:
        return absl::UnknownError("the connection was lost");
      case WordFate::kTrouble:
        return absl::UnavailableError("no connection");
      case WordFate::kLeaseLost:
        std::fill(outcomes.begin(), outcomes.end(), absl::AbortedError("lease lost"));
        return absl::OkStatus();
    }
    return absl::InternalError("an unknown fate");
  }

  WordFate NextFate(const std::string& word) {
    const std::lock_guard lock(mutex_);
    if (word != "renew") words_.push_back(word);
    std::deque<WordFate>& fates = fates_[word];
    if (fates.empty()) return WordFate::kHeard;
    const WordFate fate = fates.front();
    fates.pop_front();
    return fate;
  }

  const std::shared_ptr<DedupStore> inner_;
  std::function<void()> on_renew_;
  mutable std::mutex mutex_;  // guards what follows
  std::map<std::string, std::deque<WordFate>> fates_;
  std::vector<std::string> words_;
};

}  // namespace once
