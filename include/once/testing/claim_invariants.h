// ClaimInvariants are the rules of the claim protocol, judged while one simulated execution runs:
// what a plain handler did lies outside of the store, so the checker keeps it itself. A part of
// InvariantChecker, which says what was broken.
//
// An effect may happen once more for each invocation that was cut off between effect and
// completion: its claim was taken over after it had begun, or the store lost what it had recorded.
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "once/claims.h"
#include "once/message.h"
#include "once/publisher.h"
#include "once/testing/fake_log.h"
#include "once/testing/seam.h"
#include "once/testing/store_state.h"

namespace once::testing {

class InvariantChecker;

struct ClaimRules {
  std::string scope;
  int attempts_max = 1;
  // What dies leaves a letter. False: its caller was told, and that is all (queue_invariants.h).
  bool has_letters = true;
};

class ClaimInvariants {
 public:
  ClaimInvariants(InvariantChecker& checker, ClaimRules rules)
      : checker_(checker), rules_(std::move(rules)) {}

  // REQUIRES: called once, before anything happens.
  void Watch(const FakeLog& log);

  void OnTryClaim(const Process& process, std::span<const ClaimRequest> requests,
                  std::span<const ClaimResult> results, const absl::Status& known);
  void OnClaimCall(const Process& process, Seam call, std::span<const Claim> claims,
                   std::span<const absl::Status> outcomes, const absl::Status& known);
  void OnApply(const StoreChange& change, const StoreState& before);
  void OnSynced(const StoreState& state);
  void OnLost(const StoreState& before, const StoreState& state);
  void OnAcknowledge(const Process& process, int partition, std::int64_t offset);
  void OnPublish(const Process& process, const OutgoingMessage& letter);

  // The handler is about to run, its effect is there, it has come back.
  void OnHandler(const Process& process, const Message& message, const StoreState& state);
  void OnEffect(const Process& process, const Message& message);
  void OnReturn(const Process& process, const Message& message, bool is_done);

  std::string OutcomeOf(const StoreState& state, int partition, std::int64_t offset) const;
  bool IsDrained(const StoreState& state) const;
  void CheckEnd(const StoreState& state, bool is_drained);
  // Invocations of this id that were cut off, so that more than one outcome is right.
  int CutOffs(const std::string& id) const;
  std::size_t cut_off_count() const { return cut_offs_.size(); }
  bool HasEffect(const Message& message) const;
  std::size_t effect_count() const;
  void OnRecreated();
  // Letters by delivery: a letter that was published twice counts once.
  std::size_t letter_count() const { return letters_.size(); }

 private:
  // What one process was told about one claim.
  struct Knowledge {
    Fence fence;
    bool may_invoke = false;  // Begun was answered OK, and no invocation has followed
    bool was_invoked = false;
    bool has_returned = false;
    bool is_done = false;  // what the handler said
  };
  struct Letter {
    std::string disposition;
    std::string id;
  };
  using Delivery = std::pair<int, std::int64_t>;

  std::string KeyOf(const std::string& id) const;
  Knowledge* Find(const Process& process, const IdKey& key, const Fence& fence);
  const Knowledge* FindReturned(const std::string& key, const Fence& fence) const;
  void CheckTransition(const StoreChange::Id& id, const IdEntry& before);
  void CheckOrder(const Message& message, const StoreState& state);
  void CheckOutcomeRecorded(const StoreChange::Id& id, const std::string& text);
  bool HasLetter(const std::string& id) const;
  // How it died, as an outcome; empty: it did not.
  std::string_view DeathOf(const StoreState& state, int partition, std::int64_t offset,
                           const std::string& id) const;
  bool HasOwnLetter(int partition, std::int64_t offset) const;
  bool IsSettled(const std::string& key, const LogRecord& record) const;

  InvariantChecker& checker_;
  const ClaimRules rules_;
  const FakeLog* log_ = nullptr;
  std::map<std::pair<int, std::string>, Knowledge> knowledge_;         // by process and EncodeIdKey
  std::unordered_map<std::string, std::vector<std::string>> effects_;  // values, by EncodeIdKey
  std::unordered_map<std::string, int> invocations_;
  std::unordered_map<std::string, int> cut_offs_;
  int losses_ = 0;
  std::set<std::string> unsynced_;  // keys written since the last sync
  // Ever, and synced: a store that loses what it had synced may settle an id a second time.
  std::map<std::string, std::vector<Fingerprint>> settled_;
  std::set<std::string> dying_;      // ever, and synced
  std::set<std::string> discarded_;  // ever
  std::map<Delivery, Letter> letters_;
  std::vector<std::int64_t> acknowledged_;  // by partition
};

}  // namespace once::testing
