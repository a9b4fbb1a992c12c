// A SerialLog lets one fibre at a time into a log of outgoing messages that holds a lock of its own
// while it reads and writes: on threads that lock makes the others wait, on fibres it would stop
// the only thread there is. Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "once/outgoing_log.h"
#include "once/testing/fiber_executor.h"
#include "src/stores/single_lane_log.h"

namespace once::testing {

class SerialLog final : public OutgoingLog, public stores::RowMemory {
 public:
  // Both outlive it.
  SerialLog(FiberScheduler& scheduler, stores::SingleLaneLog& inner)
      : inner_(inner), is_free_(scheduler) {}

  std::string producer_id() const override { return inner_.producer_id(); }
  absl::StatusOr<std::vector<int>> HoldLanes() override { return inner_.HoldLanes(); }
  void GiveUpLanes(std::span<const int> lanes) override { inner_.GiveUpLanes(lanes); }
  void GiveBack(std::vector<OutgoingRow> rows) override {
    const Turn turn(*this);
    inner_.GiveBack(std::move(rows));
  }
  absl::StatusOr<std::vector<UnfinishedRound>> FindUnfinished(int lane) override {
    const Turn turn(*this);
    return inner_.FindUnfinished(lane);
  }
  absl::StatusOr<std::vector<OutgoingRow>> FindUnplaced(int lane, const Bound& bound) override {
    const Turn turn(*this);
    return inner_.FindUnplaced(lane, bound);
  }
  absl::Status Advance(const OutgoingProgress& progress) override {
    const Turn turn(*this);
    return inner_.Advance(progress);
  }
  absl::StatusOr<std::vector<StreamProgress>> ListStreams() override {
    const Turn turn(*this);
    return inner_.ListStreams();
  }
  absl::StatusOr<std::vector<OwedVoid>> ListOwed() override {
    const Turn turn(*this);
    return inner_.ListOwed();
  }
  absl::StatusOr<bool> IsEpochInUse(std::uint64_t epoch) override {
    const Turn turn(*this);
    return inner_.IsEpochInUse(epoch);
  }
  absl::Status CloseEpoch(std::uint64_t epoch) override {
    const Turn turn(*this);
    return inner_.CloseEpoch(epoch);
  }
  absl::StatusOr<OutgoingCounts> Count() override {
    const Turn turn(*this);
    return inner_.Count();
  }
  absl::StatusOr<std::uint64_t> MeasureBytes() override {
    const Turn turn(*this);
    return inner_.MeasureBytes();
  }
  absl::StatusOr<std::vector<OutgoingRow>> ListWaiting(std::int64_t after,
                                                       std::size_t rows_max) override {
    const Turn turn(*this);
    return inner_.ListWaiting(after, rows_max);
  }
  absl::StatusOr<std::vector<ParkedRow>> ListParked(std::int64_t after,
                                                    std::size_t rows_max) override {
    const Turn turn(*this);
    return inner_.ListParked(after, rows_max);
  }
  absl::StatusOr<std::vector<DiscardedRow>> ListDiscarded(std::int64_t after,
                                                          std::size_t rows_max) override {
    const Turn turn(*this);
    return inner_.ListDiscarded(after, rows_max);
  }
  absl::Status Unpark(std::int64_t number) override {
    const Turn turn(*this);
    return inner_.Unpark(number);
  }
  absl::StatusOr<std::size_t> UnparkTopic(const std::string& topic) override {
    const Turn turn(*this);
    return inner_.UnparkTopic(topic);
  }
  absl::Status Discard(std::int64_t number) override {
    const Turn turn(*this);
    return inner_.Discard(number);
  }
  absl::Status GiveUp(std::int64_t number, const std::string& reason) override {
    const Turn turn(*this);
    return inner_.GiveUp(number, reason);
  }

 private:
  class Turn {
   public:
    explicit Turn(SerialLog& log) : log_(log) {
      while (log_.is_busy_) log_.is_free_.WaitUntil(absl::InfiniteFuture());
      log_.is_busy_ = true;
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() {
      log_.is_busy_ = false;
      log_.is_free_.NotifyAll();
    }

   private:
    SerialLog& log_;
  };

  stores::SingleLaneLog& inner_;
  bool is_busy_ = false;
  Condition is_free_;
};

}  // namespace once::testing
