// OutgoingState is what a SingleLaneLog knows beside its rows, and every change of it as facts to
// be written. Small beside them: rounds under way, parked rows, what waits behind those, streams.
// Thread-safety: none of its own.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/outgoing_log.h"
#include "src/stores/outgoing_codec.h"
#include "src/stores/outgoing_storage.h"

namespace once::stores {

// A row and the order it is of (OrderOf).
struct OrderedRow {
  std::int64_t number = 0;
  std::uint64_t order = 0;
};

class OutgoingState {
 public:
  // kDataLoss for facts that no state has written.
  static absl::StatusOr<OutgoingState> Load(std::span<const OutgoingFact> facts);

  // Every row up to it is in a round, parked, waiting, or gone.
  std::int64_t cursor() const { return cursor_; }
  const std::map<std::int64_t, OutgoingRound>& rounds() const { return rounds_; }
  const std::map<std::int64_t, ParkedNote>& parked() const { return parked_; }
  const std::map<std::int64_t, DiscardedRow>& discarded() const { return discarded_; }
  std::vector<StreamProgress> ListStreams() const;
  std::vector<OwedVoid> ListOwed() const { return {owed_.begin(), owed_.end()}; }
  // Rows in rounds, parked or waiting: all there are up to the cursor.
  std::size_t CountKnown() const;
  // No row there is has a smaller number.
  std::int64_t FindFirst() const;

  // Whether an earlier row of its order is parked, or it is parked itself.
  bool MustWait(const OrderedRow& row) const;
  // Waiting rows up to the cursor that need not wait and are not set aside, ascending.
  std::vector<std::int64_t> FindReady(std::size_t rows_max) const;

  // Rows of topics that cannot be placed now: in memory, and no fact of them is written. REQUIRES:
  // the row waits.
  void SetAside(const std::string& topic, std::int64_t number);
  // All but those of these topics may be told again.
  void TakeBack(std::span<const std::string> still_passed);
  // Whether the row may be set aside, beside so many that will be: it is of one of these topics,
  // and not too many are aside.
  bool MayPass(const OutgoingRow& row, std::span<const std::string> topics,
               std::size_t passed = 0) const;
  // Those of `rows` that may pass are set aside, the others are left in it, in their order.
  // REQUIRES: all of them are of FindReady().
  void SetAsidePassing(std::span<const std::string> topics, std::vector<OutgoingRow>& rows);

  // All of these add to `change` what has to be written.
  // The round's rows are dropped. kFailedPrecondition: there is no such round.
  absl::Status Finish(std::int64_t round, OutgoingChange& change);
  // Gives the round its number.
  void Place(OutgoingRound& round, OutgoingChange& change);
  // The cursor moves to `through`. Of the rows that were seen on the way, all but `placements` and
  // the parked ones begin to wait. REQUIRES: both ascend; every row on the way was seen.
  void MoveCursor(std::int64_t through, std::span<const OrderedRow> seen,
                  std::span<const Placement> placements, OutgoingChange& change);
  void Park(const OrderedRow& row, ParkedNote note, OutgoingChange& change);
  // A placed row leaves its round.
  void Wait(const OrderedRow& row, OutgoingChange& change);
  // kNotFound: it is not parked.
  absl::Status Unpark(std::int64_t number, OutgoingChange& change);
  absl::Status Discard(std::int64_t number, OutgoingChange& change);
  // Keeps word of a row that was given up; of those it forgets the oldest beyond kDiscardedKept.
  void NoteDiscarded(DiscardedRow discarded, OutgoingChange& change);
  void SetStream(const StreamProgress& stream, OutgoingChange& change);
  void Owe(const OwedVoid& owed, OutgoingChange& change);
  void Declare(const OwedVoid& owed, OutgoingChange& change);
  void CloseEpoch(std::uint64_t epoch, OutgoingChange& change);
  // After any of them, last.
  void Settle(OutgoingChange& change);

 private:
  using StreamKey = std::tuple<std::uint64_t, std::string, std::int32_t>;

  absl::Status Take(const OutgoingFact& fact);
  void TakeOut(std::int64_t number, OutgoingChange& change);
  void StartWaiting(const OrderedRow& row, OutgoingChange& change);
  void NoteRound(std::int64_t round, OutgoingChange& change) const;
  void NoteUnparked(std::int64_t number, OutgoingChange& change);
  // After a change of what is parked.
  void SortWaiting();
  bool IsAside(std::int64_t number) const;
  std::size_t CountAside() const;

  std::int64_t cursor_ = 0;
  std::int64_t last_round_ = 0;
  std::map<std::int64_t, OutgoingRound> rounds_;
  std::set<std::int64_t> changed_rounds_;
  std::map<std::int64_t, ParkedNote> parked_;
  absl::flat_hash_map<std::uint64_t, std::int64_t> first_parked_;  // by order
  std::map<std::int64_t, std::uint64_t> waiting_;                  // to their orders
  std::set<std::int64_t> ready_;                                   // of those
  std::map<std::string, std::set<std::int64_t>> aside_;            // by topic; neither is ready
  std::map<std::int64_t, DiscardedRow> discarded_;
  bool is_unsorted_ = false;  // ready_ is
  std::map<StreamKey, StreamProgress> streams_;
  std::set<OwedVoid> owed_;
};

}  // namespace once::stores
