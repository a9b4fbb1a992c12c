// An IdLog is how an embedded store remembers ids: at the speed of appending, and exactly. Every
// commit appends one segment with all the ids it completed. Recent ones are answered from memory;
// older segments are sealed into sorted runs, merged in the background, which are asked by filter,
// index and page. No answer is ever guessed: "absent" and "completed" both come from bytes that
// were compared. Ids of which more is known (retrying, dead, claimed, …) are open rows, all of them
// in memory and in a table of their own; they override segments and outlive them.
//
// THE COURSE OF A TRANSACTION, on a store that has one at a time:
//
//   IdChanges changes;
//   log.Find(keys, changes, records, on_open);     // as often as asked
//   log.Stage(write, extra, changes);              // as often as put
//   mark = changes.size(); …; changes.CutTo(mark); // a savepoint, and back to it
//   log.WriteSegment(changes, log_time_ms);        // once, the last thing before COMMIT
//   … the store commits …
//   OK:               log.Committed(std::move(changes));
//   not applied:      log.RolledBack(std::move(changes));
//   perhaps applied:  decide it (reopen, ask), then log.Resync(), with any outcome
//
// Claims, an operator's words, and whatever else changes an id are such transactions too. Memory
// learns nothing before Committed(): what a transaction has put, only it can find.
//
// UPKEEP, by a background task of the store; without it nothing is ever sealed, and WriteSegment()
// refuses in the end:
//
//   compaction = log.StartCompaction();                 // null: nothing to do
//   while (!compaction->is_over()) compaction->Step(1 << 20);   // without the store's lock
//   log.FinishCompaction(std::move(compaction));        // always, also after an error
//   while (!*log.DropSome(256)) {}                      // a bounded write each
//
// ERRORS. kDataLoss: bytes that are stored are not what was written, or something is missing; it
// will not get better, the store must be restored. kUnavailable: not now (a Resync() is owed).
// kResourceExhausted: the disk is full, or sealing has not kept up. Anything else comes from the
// storage and is passed on.
// Thread-safety: every call under the lock by which the store's writers take turns. Those that are
// const may come beside each other and beside the calls up to WriteSegment(), but not beside those
// that teach the log something: Committed() and whatever follows it below. Compaction::Step() needs
// no lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/transaction.h"
#include "src/stores/id_log/compaction.h"
#include "src/stores/id_log/manifest.h"
#include "src/stores/id_log/open_rows.h"
#include "src/stores/id_log/recent_ids.h"
#include "src/stores/id_log/segment_codec.h"
#include "src/stores/id_log/segment_storage.h"
#include "src/stores/id_log/sorted_run.h"
#include "src/stores/id_log/staged_writes.h"

namespace once::stores {

struct IdLogOptions {
  // Ids in memory. More saves look-ups in runs; a store of which all fits never asks them.
  RecentIdsOptions recent;
  // How much of that an opening fills again from the newest runs, beside what is not sealed: after
  // a restart most of what is asked for came right before it. A million ids take a second or two.
  std::size_t reload_bytes = std::size_t{64} << 20;
  // Of a run's pages, checksum included: what the storage reads and writes well.
  std::size_t page_bytes = 16 * 1024;
  // Filters in memory: 16 bits an id are 2 MB a million, and one look-up in 1000 in vain.
  int filter_bits = 16;
  MergeLimits merge;
  // Segments are sealed when so many bytes or so many of them have gathered. Sealing takes about
  // four times the bytes in memory.
  std::uint64_t seal_bytes = std::uint64_t{32} << 20;
  std::size_t seal_segments = 4096;
  // When sealing cannot keep up, commits are refused at last: memory holds all that is not sealed,
  // and opening reads it.
  std::uint64_t unsealed_bytes_max = std::uint64_t{1} << 30;
};

// Of a segment whose log time nobody knows: younger than anything, so that it never expires.
inline constexpr std::int64_t kUnknownLogTime = std::numeric_limits<std::int64_t>::max();

// What one transaction has put. Begin with an empty one.
class IdChanges {
 public:
  // For savepoints: CutTo() forgets all that was put since size() was this.
  std::size_t size() const { return writes_.size(); }
  void CutTo(std::size_t size) { writes_.CutTo(size); }
  // So many more will be put.
  void Reserve(std::size_t writes) { writes_.Reserve(writes); }

 private:
  friend class IdLog;

  struct Segment {
    std::uint64_t bytes = 0;
    std::uint64_t ids = 0;
    std::int64_t log_time_ms = 0;
  };
  // What Committed() does with the write of the same index.
  enum class Fate : std::uint8_t { kNone, kCompleted, kCompletedAndClosed, kOpened, kClosed };

  StagedWrites writes_;
  std::vector<Fate> fates_;  // empty: not written
  std::optional<Segment> segment_;
};

struct IdLogStats {
  std::uint64_t recent_ids = 0;
  std::uint64_t recent_bytes = 0;
  std::uint64_t unsealed_segments = 0;
  std::uint64_t unsealed_ids = 0;
  std::uint64_t unsealed_bytes = 0;
  std::uint64_t runs = 0;
  std::uint64_t run_ids = 0;  // one id may be in several
  // Of runs that never expire, nor what came after them: the age of some of their ids is not known.
  std::uint64_t undated_run_ids = 0;
  std::uint64_t run_pages = 0;
  std::uint64_t filter_bytes = 0;
  std::uint64_t index_bytes = 0;
  std::uint64_t open_rows = 0;
  // Recent ids are all there are: runs are not asked.
  bool is_all_recent = true;
};

class IdLog {
 public:
  // The extra of a key that has an open row; see Find().
  using OnOpen = absl::FunctionRef<void(std::size_t index, std::string_view extra)>;

  // Reads manifest, indexes, filters, the newest runs, the segments that are not sealed, and open
  // rows.
  // REQUIRES: `storage` outlives the log.
  static absl::StatusOr<std::unique_ptr<IdLog>> Open(SegmentStorage& storage,
                                                     const IdLogOptions& options);

  // records[i] becomes what is known of keys[i]: by `changes`, else by its open row, else by
  // segments; else absent. Keys may repeat. `on_open` is told of every key whose record has an
  // extra. REQUIRES: records.size() == keys.size().
  absl::Status Find(std::span<const IdKey> keys, const IdChanges& changes,
                    std::span<IdRecord> records, OnOpen on_open);
  // The same for whoever only reads, beside a transaction: what was known when the last one was
  // over. Of a commit of unknown outcome that is what was known before.
  absl::Status FindCommitted(std::span<const IdKey> keys, std::span<IdRecord> records,
                             OnOpen on_open) const;
  // What was put of the id in `changes`, else its open row; nullopt when there is neither. `extra`
  // is valid until the next change.
  struct OpenId {
    IdRecord record;
    std::string_view extra;
  };
  std::optional<OpenId> FindOpen(const IdKey& key, const IdChanges& changes) const;
  bool has_open_rows() const { return open_.size() > 0; }
  // Of all ids, in order; also some that have no id any more.
  std::vector<std::string> ListScopes() const;

  // Puts what becomes of an id. A record that is completed and says nothing more goes to the
  // segment; any other, and any with an extra, becomes an open row; kAbsent forgets.
  // kInvalidArgument for an id that is none.
  absl::Status Stage(const IdWrite& write, std::string_view extra, IdChanges& changes);

  // Appends the segment and puts open rows, inside the store's transaction, which an error ends.
  // `log_time_ms` is the greatest log time of the partitions that the transaction moves, or
  // kUnknownLogTime. Never a clock's: ids from before an outage are as young as the backlog.
  absl::Status WriteSegment(IdChanges& changes, std::int64_t log_time_ms);

  void Committed(IdChanges&& changes);
  void RolledBack(IdChanges&& changes);
  // Reads what the storage has beyond what is known here. Until it succeeds after a commit of
  // unknown outcome everything else is refused. A storage that has lost what Committed() was told
  // of is not noticed here: open the log anew.
  absl::Status Resync();

  // StartCompaction() or DropSome() has something to do.
  bool is_upkeep_due() const;
  // Null when there is nothing worth doing, or one is under way, or DropSome() has yet to learn
  // what became of the last. `is_forced` seals what there is.
  std::unique_ptr<Compaction> StartCompaction(bool is_forced = false);
  // With no transaction open, unless it was given up. What it made counts from now on; an error
  // leaves all as it was.
  absl::Status FinishCompaction(std::unique_ptr<Compaction> compaction);
  // Forgets the oldest runs and segments of which nothing is as young as this. Open rows stay. With
  // no transaction open; does nothing while a compaction is under way.
  absl::Status Expire(std::int64_t log_time_ms);
  // Removes some of what no longer counts, about `max` pages or segments of it. With no transaction
  // open. True: nothing is left.
  absl::StatusOr<bool> DropSome(std::size_t max);

  // Every id, each once, read from the storage from end to end: first those in segments and runs,
  // then open rows, forgotten ones left out. So it checks every byte, too. An error of the visitor
  // ends it and is returned.
  absl::Status ForEach(
      absl::FunctionRef<absl::Status(const IdKey&, const IdRecord&, std::string_view extra)> visit);

  IdLogStats stats() const;

 private:
  struct Unsealed {
    std::uint64_t bytes = 0;
    std::uint64_t ids = 0;
    std::int64_t log_time_ms = 0;
  };
  // A manifest, with its runs open.
  struct Version {
    Manifest manifest;
    std::vector<std::shared_ptr<const SortedRun>> runs;
  };

  IdLog(SegmentStorage& storage, const IdLogOptions& options);

  absl::Status Load();
  absl::Status LoadNewestRuns();
  absl::Status LoadSegments();
  absl::StatusOr<OpenRows> LoadOpenRows();
  void AddUnsealed(const Unsealed& segment);
  void PutRecent(const StoredId& stored, std::uint64_t segment);

  absl::Status FindIn(const StagedWrites* staged, std::span<const IdKey> keys,
                      std::span<IdRecord> records, OnOpen on_open) const;
  // What segments and runs say.
  absl::Status FindSealedAndRecent(IdQuery& query) const;
  absl::StatusOr<IdChanges::Fate> FateOf(const StagedWrites::Write& write);
  absl::Status PutOpen(const StagedWrites::Write& write, IdChanges::Fate fate);
  bool is_all_recent() const;
  std::uint64_t next_segment() const { return version_.manifest.first_segment + unsealed_.size(); }

  bool is_seal_due() const;
  std::unique_ptr<Compaction> StartSeal(bool is_forced);
  std::unique_ptr<Compaction> StartMerge();
  Version VersionWith(const Compaction& compaction) const;
  // Makes `next` what counts, on the disk and here.
  absl::Status SwitchTo(Version next);
  // After a manifest was perhaps written: which one is it?
  absl::Status SettleDoubt();
  void Adopt(Version next);
  // The runs of `former` that are not in `current` are of no more use.
  void DropRunsOf(const Version& former, const Version& current);

  SegmentStorage& storage_;
  const IdLogOptions options_;
  Version version_;
  std::optional<Version> doubtful_;  // perhaps written
  RecentIds recent_;
  OpenRows open_;
  std::deque<Unsealed> unsealed_;  // from the manifest's first segment on
  std::uint64_t unsealed_bytes_ = 0;
  bool is_commit_pending_ = false;  // a segment was written, and nobody has said what became of it
  bool is_compacting_ = false;
  std::deque<std::uint32_t> runs_to_drop_;
  std::uint64_t dropped_below_ = 0;  // segments
  std::uint32_t next_run_ = 1;
};

}  // namespace once::stores
