// An AttackedStore is a PostgreSQL store whose server, or the way to it, is attacked while steps
// are written to it, and a peer on a server that nobody attacks, which takes the same steps. After
// every attack the attacked one must hold what the peer held after some number of steps: not fewer
// than were promised to survive, not one that was answered "not applied", and none by half.
// Thread-safety: none.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tests/campaign/campaign.h"
#include "tests/campaign/postgres_kind.h"
#include "tests/campaign/store_writer.h"

namespace once::campaign {

// What an attack must leave of the step that it hit.
enum class StepInFlight : std::uint8_t { kEither, kApplied, kNotApplied };

class AttackedStore {
 public:
  // Both at places of their own; all effects of `fault` are the attacked one's.
  AttackedStore(std::string attacked, std::string peer, std::uint64_t seed, PostgresFault fault);

  // Opens both. Later calls open the attacked one anew, as a new process does.
  absl::Status Open();
  // Steps until one fails, or `steps_max` are done; false then.
  bool WriteUntilFailure(std::int64_t steps_max);
  // What is wrong; empty: nothing. REQUIRES: the server serves again, if it was killed.
  // `may_lose`: steps that were not durable may be gone; the store must say so if they are claims.
  std::string Check(bool may_lose, StepInFlight in_flight);

  // Steps that were answered OK since the last Check(); for whoever waits to attack.
  std::int64_t answered() const { return answered_; }
  std::int64_t steps() const { return steps_; }
  std::int64_t steps_undone() const { return undone_; }
  std::int64_t losses_told() const { return told_; }
  std::int64_t in_flight_applied() const { return in_flight_applied_; }
  std::int64_t lost() const { return lost_; }
  std::int64_t surplus() const { return surplus_; }

 private:
  // As an engine: until the row is taken.
  absl::Status Recover();
  // Takes the peer to the step behind which the attacked one stands; what is wrong if nowhere.
  std::string Compare(std::int64_t first, std::int64_t last);
  std::string CheckTold(std::int64_t from, std::int64_t to);

  StoreWriter attacked_;
  StoreWriter peer_;
  bool is_open_ = false;
  bool is_anew_ = false;      // since the last failure: another opening, which has recorded nothing
  std::int64_t next_ = 0;     // the attacked one's next step
  std::int64_t durable_ = 0;  // steps below it were promised to survive
  std::int64_t peer_next_ = 0;
  absl::Status failure_;  // of step next_
  std::atomic<std::int64_t> answered_ = 0;
  std::int64_t steps_ = 0;
  std::int64_t undone_ = 0;
  std::int64_t told_ = 0;
  std::int64_t in_flight_applied_ = 0;
  std::int64_t lost_ = 0;
  std::int64_t surplus_ = 0;
};

}  // namespace once::campaign
