// A SequenceTracker follows the streams of numbered messages in one partition: which numbers have
// arrived, which are missing, and since when. What it knows is kept by the store, in notes that are
// written with the row of the partition; in memory are the streams used last.
//
// One transaction at a time: Begin, Read what is in it, Stage, and Adopt once it is known to be
// committed. What was staged for a transaction that was rolled back is forgotten by the next
// Begin(). Whoever reads the row anew begins with a new tracker: another owner may have written.
//
// A partition that was read from its first record on tells of every number; one that was begun in
// the middle knows a stream from the first number met, until a mark says where it began. Offsets
// prove nothing. Thread-safety: none; the worker's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "once/loss.h"
#include "once/message.h"
#include "once/position.h"
#include "once/sequence.h"
#include "once/transaction.h"
#include "src/loss_notes.h"
#include "src/owned_note.h"
#include "src/stamp_reader.h"
#include "src/stream_notes.h"
#include "src/stream_table.h"

namespace once {

// Where the partition's row is, and goes with this transaction.
struct TrackedStep {
  std::int64_t position_before = 0;
  std::int64_t position_after = 0;
  // What a number that is missing is first seen at; in milliseconds since the Unix epoch.
  std::int64_t log_time_ms = 0;
  // The row was moved ahead because the log had lost what lies between: that is missing. Otherwise
  // a move ahead was somebody's order, and what lies between is excused.
  bool is_gap_lost = false;
  // There is no row that anybody could move: a position that is ahead of what was read last is
  // behind a hole in the offsets.
  bool is_rowless = false;
};

// A record of the side topic. Exactly one of the two is set.
struct SideRecord {
  std::string stream;  // packed
  std::optional<StreamMark> mark = std::nullopt;
  std::optional<StreamVoid> gone = std::nullopt;
};

class SequenceTracker {
 public:
  // Streams that are waited for at a time: beyond it a stream's missing numbers are reported at
  // once.
  static constexpr std::size_t kWaitingStreamsMax = 1000;
  // Marks that are judged in one transaction.
  static constexpr std::size_t kMarksAtOnce = 1000;
  // Streams whose marks, and streams whose voids, are held until the partition has come as far.
  static constexpr std::size_t kHeldStreamsMax = 10'000;
  static constexpr std::size_t kHeldVoidsMax = 1000;  // per stream

  SequenceTracker(PartitionKey key, const LossOptions& options, bool is_durable);

  void Begin();
  // Of the message's stamp; it counts the message where there is none. The message stays where it
  // is until the next Begin().
  void Read(const Message& message);
  // Adds what must be written. With a null transaction (not durable) nothing is read or written.
  // REQUIRES: a transaction that has locked the partition's row.
  absl::Status Stage(StoreTransaction* transaction, const TrackedStep& step,
                     std::vector<OwnedNote>& notes);
  // What was staged is so. Adds what it has made known.
  void Adopt(std::vector<LossEvent>& events);

  // Numbers that have been missing since `seen_until_ms` or before, and marks and voids as far as
  // the position has come, belong to the transaction that begins.
  void Judge(std::int64_t seen_until_ms) { judge_until_ms_ = seen_until_ms; }
  // Streams that need a Judge() at some time.
  bool has_waiting() const { return !waiting_.empty(); }

  // Held until it can be judged. False: there is no room until some have been, with the row at
  // `position`. Where that would not help it is dropped, and the side topic must be read again:
  // until then a number may seem to be missing that was given up.
  bool Hold(const SideRecord& record, std::int64_t position);
  bool has_dropped() const { return has_dropped_; }
  // Enough for another try, now …
  bool has_side_room() const { return sides_.size() < kHeldStreamsMax / 2; }
  // … or once the partition has come further.
  bool may_have_side_room() const { return has_side_room() || !ripening_.empty(); }
  // It is being read again, from the beginning.
  void ForgetDropped() { has_dropped_ = false; }
  // Whether Judge() would find something new in what is held.
  bool has_judgeable(std::int64_t position) const;

  // Streams that something is held of.
  std::size_t held() const { return sides_.size(); }

  std::uint64_t missing() const { return progress_.missing; }
  // Messages without a stamp of this partition, of the transactions adopted since the last call.
  std::uint64_t TakeUnstamped();
  std::size_t streams() const { return table_.size(); }

 private:
  struct Stamped {
    std::size_t stream = 0;  // index into met_
    std::uint64_t number = 0;
  };
  struct Met {
    std::string name;                   // packed
    bool is_loaded = false;             // `before` is what is known
    std::optional<StreamState> before;  // nullopt: nothing was
    std::optional<StreamState> state;
    std::vector<StreamFinding> findings;
  };
  // What the side topic says of a stream.
  struct Side {
    std::vector<StreamMark> marks;  // the oldest that was not judged, and the newest
    std::vector<StreamVoid> voids;
  };

  std::size_t Meet(const std::string& packed);
  absl::Status LoadProgress(StoreTransaction* transaction, const TrackedStep& step);
  absl::Status LoadStreams(StoreTransaction* transaction);
  void MeetJudged(std::int64_t position);
  void Receive(const Stamped& stamped, const TrackedStep& step);
  void JudgeMark(Met& met, const StreamMark& mark, const TrackedStep& step);
  void StageWaiting(std::vector<OwnedNote>& notes);
  void StageNotes(std::vector<OwnedNote>& notes);
  void ForgetSide(const Met& met, std::int64_t position);
  bool is_whole() const { return next_.began == 0 && !is_forgetful(); }
  // A stream that is not known may have been.
  bool is_forgetful() const { return !is_durable_ && table_.has_forgotten(); }
  std::string KeyOf(LossNoteKind kind) const;

  const PartitionKey key_;
  const LossOptions& options_;
  const bool is_durable_;
  const StreamNotes notes_;

  // What is so.
  bool is_loaded_ = false;
  PartitionProgress progress_;
  std::optional<PartitionProgress> stored_;  // as the store has it
  std::set<std::string> waiting_;            // packed
  StreamTable table_;
  std::map<std::string, Side> sides_;                        // by packed stream
  std::set<std::pair<std::int64_t, std::string>> ripening_;  // by where its oldest mark is judged
  std::set<std::string> fresh_;                              // with voids that are not judged yet
  bool has_dropped_ = false;
  std::uint64_t unstamped_ = 0;

  // The transaction at hand.
  std::optional<std::int64_t> judge_until_ms_;
  std::vector<Stamped> stamped_;
  std::vector<Met> met_;
  absl::flat_hash_map<std::string, std::size_t> places_;  // in met_, by packed stream
  StampReader reader_;
  std::uint64_t unstamped_here_ = 0;
  PartitionProgress next_;
  std::set<std::string> next_waiting_;
  bool is_waiting_changed_ = false;
  std::int64_t position_ = 0;
};

}  // namespace once
