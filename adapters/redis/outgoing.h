// The log of outgoing messages of a shared spool: sixteen lanes, which relays of several processes
// share (lane_leases.h). What is known of a lane lies in facts beside the rows, and is kept in
// memory by the relay that holds it; every change of it gives the lane a revision that it never
// had, so that whoever has not seen the last one writes nothing, and a server that went back is
// noticed: the last revision that a relay wrote is then not the one that it knows. Streams and
// voids lie beside the lanes, since rounds of several lanes are of one stream.
// Thread-safety: safe for concurrent use. Its lock is held while the server works for the relay.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/redis/cluster.h"
#include "adapters/redis/lane_leases.h"
#include "adapters/redis/outgoing_rows.h"
#include "adapters/redis/spool_lane.h"
#include "once/outgoing_log.h"
#include "src/stores/lane_change.h"
#include "src/stores/lane_sharing.h"

namespace once::redis {

class RedisOutgoing final : public OutgoingLog, public stores::LaneSharing {
 public:
  // REQUIRES: `cluster` and `keys` outlive it.
  RedisOutgoing(Cluster& cluster, const SpoolKeys& keys, absl::Duration lease,
                std::function<absl::Duration()> clock_skew);

  std::string producer_id() const override { return cluster_.traits().id; }
  absl::StatusOr<std::vector<int>> HoldLanes() override;
  void GiveUpLanes(std::span<const int> lanes) override;
  std::vector<int> FindSurplus() override;
  absl::StatusOr<std::vector<UnfinishedRound>> FindUnfinished(int lane) override;
  absl::StatusOr<std::vector<OutgoingRow>> FindUnplaced(int lane, const Bound& bound) override;
  absl::Status Advance(const OutgoingProgress& progress) override;
  absl::StatusOr<std::vector<StreamProgress>> ListStreams() override;
  absl::StatusOr<std::vector<OwedVoid>> ListOwed() override;
  absl::StatusOr<bool> IsEpochInUse(std::uint64_t epoch) override;
  absl::Status CloseEpoch(std::uint64_t epoch) override;

  // outgoing_operations.cc; from any process.
  absl::StatusOr<OutgoingCounts> Count() override;
  absl::StatusOr<std::uint64_t> MeasureBytes() override;
  absl::StatusOr<std::vector<OutgoingRow>> ListWaiting(std::int64_t after,
                                                       std::size_t rows_max) override;
  absl::StatusOr<std::vector<ParkedRow>> ListParked(std::int64_t after,
                                                    std::size_t rows_max) override;
  absl::StatusOr<std::vector<DiscardedRow>> ListDiscarded(std::int64_t after,
                                                          std::size_t rows_max) override;
  absl::Status Unpark(std::int64_t number) override;
  absl::StatusOr<std::size_t> UnparkTopic(const std::string& topic) override;
  absl::Status Discard(std::int64_t number) override;
  absl::Status GiveUp(std::int64_t number, const std::string& reason) override;

 private:
  struct HeldLane {
    std::optional<SpoolLane> lane;  // nullopt: to be read
    // The last revision that a relay wrote, as the server has said or confirmed; nullopt: to be
    // read. With another one the server has lost rounds, or has again what was finished.
    std::optional<std::string> relayed;
    Sighting seen;
    std::optional<bool> has_rows;  // by the last look at all lanes; nullopt: used up
  };
  // By lanes.
  using Written = std::map<int, SpoolLane::Written>;

  // kAborted: this relay does not hold it.
  absl::StatusOr<HeldLane*> Find(int lane);
  struct LaneRead {
    std::string owner;  // the token of who holds it
    std::string relayed;
    SpoolLane lane;
  };
  // As the server has it now.
  absl::StatusOr<LaneRead> ReadLane(int lane);
  // kAborted: it is not held any more, or has lost what a relay wrote; no lane is held then.
  absl::Status Load(int lane, HeldLane& held);
  // Which lanes have rows to be told, for all that are held.
  absl::Status LookAtLanes();
  // rows[i] of numbers[i], of one lane; with `is_part`, as many of the first as one reply has.
  absl::StatusOr<std::vector<OutgoingRow>> ReadRows(int lane, std::span<const std::int64_t> numbers,
                                                    std::size_t bytes_max, bool is_part);
  absl::StatusOr<std::vector<OutgoingRow>> ReadReady(int lane, SpoolLane& known,
                                                     const Bound& bound);
  absl::StatusOr<std::vector<OutgoingRow>> ReadOn(int lane, HeldLane& held, const Bound& bound);
  // All fields of a hash.
  absl::StatusOr<std::map<std::string, std::string>> ReadHash(const std::string& key);

  // outgoing_writing.cc
  // What is refused or leaves its round.
  absl::StatusOr<std::vector<stores::LeavingRow>> FindLeaving(const OutgoingProgress& progress);
  absl::StatusOr<absl::Time> ReadClock();
  // Stages and writes; again where an operator has changed one of the lanes meanwhile.
  absl::Status Write(const stores::LaneChanges& changes, const OutgoingProgress& progress);
  absl::Status TryWrite(const stores::LaneChanges& changes, const OutgoingProgress& progress,
                        bool& is_outdated);
  // True: what is placed was seen of the lanes as they are now.
  absl::StatusOr<bool> ReadAgain(const stores::LaneChanges& changes);
  // One that no lane has ever had.
  std::string DrawRevision();
  // The answer of the script. `token` is empty for an operator; the lanes get `revision`.
  absl::StatusOr<std::int64_t> SayWrite(const std::string& token, const std::string& revision,
                                        const Written& written, const OutgoingProgress& progress);
  // `work` on a lane, which nobody else changes meanwhile.
  absl::Status ChangeAsOperator(
      int lane,
      absl::FunctionRef<absl::Status(stores::OutgoingState&, stores::OutgoingChange&)> work);

  Cluster& cluster_;
  const SpoolKeys& keys_;
  std::mutex mutex_;
  LaneLeases lanes_;
  std::map<int, HeldLane> held_;
  std::atomic<std::uint64_t> revisions_ = 0;  // drawn; also by operators, who take no lock
};

}  // namespace once::redis
