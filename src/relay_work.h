// RelayWork is an OutboxRelay at work: the control flow between the log of outgoing messages, which
// remembers, and the sender, which sends. Every turn hears what has become of what was sent, writes
// down in one transaction what is settled and what comes next, and sends that. With a task beside
// it turns go on while that is written and the next rows are read (relay_writing.cc).
//
// Doubt ends an incarnation: after an unknown Advance() or lost lanes everything in memory is
// dropped, the store is asked what there is, and new numbers are of a new epoch.
// Thread-safety: none of its own.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/outbox_relay.h"
#include "src/partitioner.h"
#include "src/relay_marks.h"
#include "src/relay_sender.h"
#include "src/relay_streams.h"
#include "src/relay_topics.h"
#include "src/side_task.h"
#include "src/stores/lane_sharing.h"
#include "src/stores/row_memory.h"

namespace once {

class RelayWork {
 public:
  // REQUIRES: the options are checked, and TryAcquireRelay() was true. Releases it.
  explicit RelayWork(OutboxRelayOptions options);
  ~RelayWork();

  // From now on turns do not wait for the log while there is something to send or to hear of.
  void GoBeside();

  // One turn; `may_place` false: nothing new is sent.
  absl::Status Step(bool may_place);
  // Waits for a report, or for poll_interval; not at all while there is something to do.
  void Wait(bool is_stopping);
  bool is_idle() const;
  // Nothing is on its way, and nothing has to be written down.
  bool is_settled() const;

  // For the end: last marks of this incarnation, in as many turns as they take. True: it is closed.
  bool CloseEpoch();
  void GiveUpLanes();

  const OutboxRelayOptions& options() const { return options_; }
  absl::Time Now() const { return options_.executor->Now(); }
  void Log(LogLevel level, std::string_view action, std::string message) const;

 private:
  // The store and what is in memory may differ now.
  static bool IsDoubt(const absl::Status& status);
  // What one Advance() is to write.
  struct Draft {
    std::vector<OutgoingProgress::Finished> finished;
    std::vector<OutgoingRound> placed;
    std::vector<RefusedRow> refused;
    std::vector<std::int64_t> waiting;
    std::vector<OwedVoid> owed;
    std::vector<std::unique_ptr<Flight>> flights;  // of the rounds that are placed
    bool is_empty() const;
    void DropPlaced();
  };

  // Rows that were told and are not placed yet.
  struct FoundRows {
    int lane = 0;
    std::vector<OutgoingRow> rows;
  };
  struct Ahead {
    std::vector<FoundRows> rounds;
    std::vector<std::string> passed;  // topics over which the log has passed
  };
  // What is asked of the log in one go, and its answers. While it is out it is the side task's.
  struct Errand {
    Draft draft;
    bool must_write = false;
    bool has_refused = false;  // rows of flights
    std::vector<OwedVoid> declared;
    std::vector<StreamProgress> streams;
    std::size_t rounds_max = 0;  // to be read ahead …
    std::vector<int> lanes;      // … of these, in this order
    absl::Status written;
    Ahead found;
    std::size_t lanes_asked = 0;
    absl::Status read;          // doubt ends the reading
    absl::Status lane_trouble;  // of lanes that could not be read
  };

  absl::Status RefreshLanes();
  // Lanes that others are to have: nothing of them is placed any more, and those of which nothing
  // is on its way are given up.
  std::vector<int> LeaveSurplus();
  bool HasOnItsWay(int lane) const;
  absl::Status Recover();
  // What other relays have done to streams of former epochs.
  absl::Status LearnStreams();
  absl::Status TakeOwed(std::uint64_t epoch);
  absl::Status TakeLane(int lane);
  std::unique_ptr<Flight> MakeFlight(UnfinishedRound unfinished);

  absl::Status AskLog(bool may_place);
  absl::Status Advance(bool may_place);
  bool CanGoBeside();
  bool is_out() const { return side_ != nullptr && side_->is_busy(); }
  void PlanReading();
  void PlanLanes(std::size_t rounds_max);
  void RunErrand();
  void ReadAhead();
  absl::Status EndErrand();
  absl::Status TakeAhead();
  void DraftFinished(Draft& draft);
  void DraftRefused(Draft& draft);
  absl::Status DraftPlaced(Draft& draft);
  absl::Status ReadNow(std::size_t rounds_max);
  // Of what was read ahead only what the log would tell now.
  void SiftAhead();
  bool MayPlaceOf(int lane) const;
  void Place(int lane, std::vector<OutgoingRow> rows, Draft& draft);
  // kInvalidArgument: never.
  absl::StatusOr<std::int32_t> ChoosePartition(const OutgoingMessage& message);
  absl::Status Write();
  // `has_refused`: rows of flights were.
  void Keep(Draft& draft, bool has_refused);
  void GiveBackRows();
  void LogRefused(const Draft& draft) const;
  // Everything is asked again.
  void Reset();

  void TendMarks();
  absl::Status CloseFormerEpochs();
  void PutLastMarks(std::uint64_t epoch);
  void CountWaiting();

  const OutboxRelayOptions options_;
  OutgoingLog& log_;
  stores::LaneSharing* const sharing_;  // null: the lanes are nobody else's
  stores::RowMemory* const memory_;     // null: the log has no use for it
  RelayStreams streams_;
  RelaySender sender_;
  RelayMarks marks_;
  RelayTopics topics_;
  std::unique_ptr<Event> pause_;

  bool is_recovered_ = false;   // the streams are those of the store
  bool has_all_lanes_ = false;  // and every lane that is held is taken
  std::vector<int> lanes_;
  std::vector<int> leaving_;  // of those
  std::size_t next_lane_ = 0;
  absl::Time lanes_at_ = absl::InfinitePast();  // when they are asked for again
  absl::Time retry_at_ = absl::InfinitePast();  // after trouble with the store
  absl::Time place_at_ = absl::InfinitePast();  // when nothing of what was told could be placed
  absl::Time marks_at_ = absl::InfinitePast();
  absl::Time count_at_ = absl::InfinitePast();
  // Settled, and not written down yet.
  std::vector<std::unique_ptr<Flight>> finished_;
  std::vector<OwedVoid> declared_;
  absl::Status lane_trouble_;   // of lanes that could not be read when they were asked last
  absl::Status close_trouble_;  // of former epochs that could not be closed …
  absl::Time close_at_ = absl::InfinitePast();  // … until then
  bool found_nothing_ = false;                  // when it looked last
  bool is_stalled_ = false;  // there are rows, and nothing could be done for them in this turn

  Ahead ahead_;
  absl::Time ahead_at_ = absl::InfinitePast();  // when reading ahead that found nothing is repeated
  absl::Time begun_at_ = absl::InfinitePast();  // of the errand that is out
  Errand errand_;

  StickyPartition keyless_;
  std::set<std::uint64_t> last_marked_;            // epochs
  std::map<std::uint64_t, absl::Time> epochs_at_;  // when an epoch in use is asked about again
  std::unique_ptr<SideTask> side_;                 // last: it uses what is above
};

}  // namespace once
