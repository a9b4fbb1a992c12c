// The log of outgoing messages of a PostgreSQL store: sixteen lanes, which relays of several
// processes share (lane_session.h). What is known of a lane lies in facts beside the rows, and is
// kept in memory by the relay that holds it; every change of it raises the lane's revision, so that
// whoever has not seen the last one writes nothing. Streams and voids lie in tables of their own,
// since rounds of several lanes are of one stream.
// Thread-safety: safe for concurrent use. Its lock is held while the server works for the relay.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/postgres/database.h"
#include "adapters/postgres/lane_session.h"
#include "adapters/postgres/outgoing_lane.h"
#include "once/outgoing_log.h"
#include "src/stores/lane_change.h"
#include "src/stores/lane_sharing.h"
#include "src/stores/row_memory.h"

namespace once::postgres {

class PostgresOutgoing final : public OutgoingLog,
                               public stores::LaneSharing,
                               public stores::RowMemory {
 public:
  explicit PostgresOutgoing(std::shared_ptr<Database> database);

  std::string producer_id() const override { return database_->traits().id; }
  absl::StatusOr<std::vector<int>> HoldLanes() override;
  void GiveUpLanes(std::span<const int> lanes) override;
  std::vector<int> FindSurplus() override;
  void GiveBack(std::vector<OutgoingRow> rows) override;
  absl::StatusOr<std::vector<UnfinishedRound>> FindUnfinished(int lane) override;
  absl::StatusOr<std::vector<OutgoingRow>> FindUnplaced(int lane, const Bound& bound) override;
  absl::Status Advance(const OutgoingProgress& progress) override;
  absl::StatusOr<std::vector<StreamProgress>> ListStreams() override;
  absl::StatusOr<std::vector<OwedVoid>> ListOwed() override;
  absl::StatusOr<bool> IsEpochInUse(std::uint64_t epoch) override;
  absl::Status CloseEpoch(std::uint64_t epoch) override;

  // outgoing_operations.cc; from any process, on sessions of their own.
  absl::StatusOr<OutgoingCounts> Count() override;
  absl::StatusOr<std::vector<ParkedRow>> ListParked(std::int64_t after,
                                                    std::size_t rows_max) override;
  absl::StatusOr<std::uint64_t> MeasureBytes() override;
  absl::StatusOr<std::vector<OutgoingRow>> ListWaiting(std::int64_t after,
                                                       std::size_t rows_max) override;
  absl::StatusOr<std::vector<DiscardedRow>> ListDiscarded(std::int64_t after,
                                                          std::size_t rows_max) override;
  absl::Status Unpark(std::int64_t number) override;
  absl::Status Discard(std::int64_t number) override;
  absl::Status GiveUp(std::int64_t number, const std::string& reason) override;

 private:
  struct HeldLane {
    std::optional<OutgoingLane> lane;  // nullopt: to be read
    Sighting seen;
    std::optional<bool> has_rows;  // by the last look at all lanes; nullopt: used up
    bool must_check = true;        // numbers, before anything else is told
    bool must_check_all = true;    // however far behind the cursor
    int looks = 0;                 // of HoldLanes(), since the numbers were checked
    absl::Status trouble;          // not OK: nothing is told until somebody has mended it
  };
  // By lanes.
  using Written = std::map<int, stores::OutgoingChange>;

  // kAborted: this relay does not hold it.
  absl::StatusOr<HeldLane*> Find(int lane);
  absl::Status Load(int lane, HeldLane& held);
  // A result of read_facts.
  static absl::StatusOr<OutgoingLane> LaneAt(const Result& rows);
  // Which lanes have rows to be told, for all that are held, and which holes are none any more.
  absl::Status LookAtLanes();
  // Whether numbers were drawn again behind the cursor, where nothing would tell their rows.
  absl::Status CheckNumbers(int lane, HeldLane& held);
  absl::StatusOr<std::vector<OutgoingRow>> ReadReady(int lane, OutgoingLane& known,
                                                     const Bound& bound);
  absl::StatusOr<std::vector<OutgoingRow>> ReadOn(int lane, HeldLane& held, const Bound& bound);
  absl::StatusOr<Result> FindBehind(int lane, std::int64_t cursor, const Bound& bound);
  OutgoingRow ReadRow(const Result& found, int row);

  // Those that are there of what is refused or leaves its round.
  absl::StatusOr<std::vector<stores::LeavingRow>> FindLeaving(const OutgoingProgress& progress);
  // Stages and writes; again where an operator has changed one of the lanes meanwhile.
  absl::Status Write(const stores::LaneChanges& changes, const OutgoingProgress& progress);
  absl::Status TryWrite(const stores::LaneChanges& changes, const OutgoingProgress& progress);
  // True: `lanes` are all still ours, and are read again.
  absl::StatusOr<bool> ReadAgain(const stores::LaneChanges& changes);
  void QueueWritten(Session& session, const Written& written);
  void QueueStreams(Session& session, const OutgoingProgress& progress);

  // Asks on the relay's session, kAborted where there is none.
  absl::StatusOr<std::vector<Result>> Ask(const Statement& statement, Params params);
  // Likewise on a session of the pool.
  absl::StatusOr<std::vector<Result>> AskAside(const Statement& statement, Params params);
  // `work` on the lane of `number`, which nobody else changes meanwhile.
  absl::Status ChangeAsOperator(
      std::int64_t number,
      absl::FunctionRef<absl::Status(stores::OutgoingState&, stores::OutgoingChange&)> work);

  const std::shared_ptr<Database> database_;
  std::mutex mutex_;
  LaneSession lanes_;
  std::map<int, HeldLane> held_;
  std::vector<OutgoingRow> spent_;
};

}  // namespace once::postgres
