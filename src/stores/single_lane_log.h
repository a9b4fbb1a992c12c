// SingleLaneLog is the log of outgoing messages of an embedded store: what it knows lies in an
// OutgoingState, what it holds in an OutgoingStorage. There is one lane, 0, which is held by
// whoever has the store open.
// Thread-safety: safe for concurrent use. Its lock is held while the storage works.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/outgoing_log.h"
#include "src/stores/outgoing_state.h"
#include "src/stores/outgoing_storage.h"
#include "src/stores/row_memory.h"

namespace once::stores {

class SingleLaneLog final : public OutgoingLog, public RowMemory {
 public:
  // `producer_id`: the store's. `storage` outlives it.
  SingleLaneLog(OutgoingStorage& storage, std::string producer_id, std::function<absl::Time()> now);

  std::string producer_id() const override { return producer_id_; }
  absl::StatusOr<std::vector<int>> HoldLanes() override;
  void GiveUpLanes(std::span<const int> lanes) override;
  void GiveBack(std::vector<OutgoingRow> rows) override;
  absl::StatusOr<std::vector<UnfinishedRound>> FindUnfinished(int lane) override;
  absl::StatusOr<std::vector<OutgoingRow>> FindUnplaced(int lane, const Bound& bound) override;
  absl::Status Advance(const OutgoingProgress& progress) override;
  absl::StatusOr<std::vector<StreamProgress>> ListStreams() override;
  absl::StatusOr<std::vector<OwedVoid>> ListOwed() override;
  absl::StatusOr<bool> IsEpochInUse(std::uint64_t epoch) override;
  absl::Status CloseEpoch(std::uint64_t epoch) override;
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
  absl::Status Load();
  // Writes what `work(OutgoingState&, OutgoingChange&)` has changed. Whatever fails, the state is
  // read again.
  template <typename Work>
  absl::Status Change(Work work);
  absl::Status Stage(const OutgoingProgress& progress, OutgoingState& state,
                     OutgoingChange& change);
  absl::Status StageRefused(const OutgoingProgress& progress, OutgoingState& state,
                            OutgoingChange& change);
  // Of rows by their numbers, in any order.
  absl::StatusOr<std::vector<OrderedRow>> OrdersOf(std::vector<std::int64_t> numbers);
  absl::Status ReadReady(const Bound& bound, std::vector<OutgoingRow>& found);
  absl::Status ScanBehindCursor(const Bound& bound, std::vector<OutgoingRow>& found);
  absl::StatusOr<absl::Time> FindOldest(const OutgoingRow& first);

  OutgoingStorage& storage_;
  const std::string producer_id_;
  const std::function<absl::Time()> now_;

  std::mutex mutex_;
  std::optional<OutgoingState> state_;  // nullopt: to be read
  // Every row between the cursor and as far as the last FindUnplaced() has read.
  std::vector<OrderedRow> seen_;
  // Those of them that it has passed over for their topics.
  std::vector<std::pair<std::string, std::int64_t>> passed_;
  std::vector<OutgoingRow> spent_;
};

}  // namespace once::stores
