// QueueInvariants are the rules for workers that take their messages from a queue and guard their
// function with once::Wrap, judged while one simulated execution runs. A part of InvariantChecker,
// which says what was broken.
//
// A queue has no position and cannot be read again: what is acknowledged must be settled, in what
// survives the store's machine.
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "once/message_id.h"
#include "once/testing/fake_log.h"
#include "once/testing/seam.h"
#include "once/testing/store_state.h"

namespace once::testing {

class InvariantChecker;

class QueueInvariants {
 public:
  QueueInvariants(InvariantChecker& checker, std::string scope)
      : checker_(checker), scope_(std::move(scope)) {}

  // `sent` has every message that was ever sent, in partition 0, at the offset that is its number.
  // REQUIRES: called once, before anything happens.
  void Watch(const FakeLog& sent) { sent_ = &sent; }

  void OnApply(const StoreChange& change);
  void OnSynced(const StoreState& state);
  void OnAck(const Process& process, std::int64_t number);

  // True when every message is acknowledged.
  bool IsDrained() const;

  // Nobody keeps what is dead: the caller was told, and that is all.
  static bool IsDead(const StoreState& state, const std::string& key);
  // Another value has the id.
  static bool IsConflict(const StoreState& state, const std::string& key, const LogRecord& record);

 private:
  InvariantChecker& checker_;
  const std::string scope_;
  const FakeLog* sent_ = nullptr;
  std::set<std::string> settled_;                          // ever, and synced; by EncodeIdKey
  std::map<std::string, std::vector<Fingerprint>> known_;  // ever recorded with an id
  std::set<std::int64_t> acknowledged_;
};

}  // namespace once::testing
