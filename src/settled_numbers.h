// SettledNumbers tells the messages of one partition apart by the numbers that their producers'
// outboxes gave them (DedupBy::kSequence): per stream the greatest number that was met, and which
// ones below it are not settled. In the steady state that is one number. It is kept by the store,
// in notes that are written with the row of the partition; in memory are the streams used last.
//
// A number is settled in the transaction that settles its message, and never otherwise: what was
// given up, skipped by order or never seen is not. Of one that is not settled, and below the
// greatest, the id decides: a record of a failed attempt may be there.
//
// A number above all that were met was never handled, if the stream is whole: its number 1 was
// the first one met, no record of its id was there, and nobody else has handled messages of the
// partition since. Of other streams ids are asked, always: messages may have been handled under
// them. While ids are in charge numbers are met, and not settled. Whether somebody else was at
// work, who knows nothing of numbers, shows in the position that the partition's note has.
//
// One transaction at a time: Begin, Read what is in it; per pass Load, then Ask and Settle, Stage;
// Adopt once it is known to be committed. Whoever reads the row anew begins with a new object.
// Thread-safety: none; the worker's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "once/consumer.h"
#include "once/message.h"
#include "once/position.h"
#include "once/sequence.h"
#include "once/transaction.h"
#include "src/owned_note.h"
#include "src/stamp_reader.h"
#include "src/stream_notes.h"
#include "src/stream_state.h"
#include "src/stream_table.h"

namespace once {

// Ranges per stream that are not settled. Where a batch might bring more, ids are in charge of the
// stream's messages, those that are next in line too. A batch brings at most one per run of numbers
// that follow each other, however long, and one more.
inline constexpr std::size_t kUnsettledRangesMax = 4096;

enum class Standing : std::uint8_t {
  kSettled,  // a copy of a message that is settled
  kNew,      // it was never handled, nor is there a record of its id
  kUnclear,  // its id decides
};

class SettledNumbers {
 public:
  struct Number {
    std::uint32_t stream = 0;
    std::uint64_t number = 0;
  };

  // REQUIRES: streams_max >= 2.
  SettledNumbers(PartitionKey key, DedupBy dedup, std::size_t streams_max);

  void Begin();
  // nullopt: it has no number of an outbox; a dead letter that comes back has none.
  std::optional<Number> Read(const Message& message);

  // Whether anything has to be read: before the first Load(), and where numbers count.
  bool is_needed() const { return !is_loaded_ || has_numbers(); }
  // What has been settled since the last Load() is undone. `position`: of the row. REQUIRES: a
  // transaction that has locked it.
  absl::Status Load(StoreTransaction& transaction, std::int64_t position);

  Standing Ask(const Number& number) const;
  // Whether Settle() would take it.
  bool CanSettle(const Number& number) const;
  // False: it is not settled, there is no room, and its id must be. `was_absent`: there was no
  // record of its id, and the store was asked.
  bool Settle(const Number& number, bool was_absent);
  // It is not settled, and there is a record of its id.
  void Meet(const Number& number);

  // `position`: as the transaction leaves the row.
  void Stage(std::int64_t position, std::vector<OwnedNote>& notes);
  // What was staged is so.
  void Adopt();

 private:
  // What the partition's note has.
  struct Progress {
    std::uint32_t era = 1;  // grows whenever somebody else may have handled messages
    std::int64_t position = 0;
    std::string cluster;

    friend bool operator==(const Progress&, const Progress&) = default;
  };

  struct Met {
    std::size_t runs = 0;               // of this batch: numbers that do not follow the one before
    std::uint64_t last = 0;             // the number that was read last
    bool is_loaded = false;             // `before` is what is known
    std::optional<StreamState> before;  // nullopt: nothing was
    StreamState state;
  };

  bool has_numbers() const { return dedup_ == DedupBy::kSequence || stored_; }
  bool IsTight(const Met& met) const;
  absl::Status LoadPartition(StoreTransaction& transaction, std::int64_t position);
  absl::Status LoadStreams(StoreTransaction& transaction);

  const PartitionKey key_;
  const DedupBy dedup_;
  const StreamNotes notes_;

  // What is so.
  bool is_loaded_ = false;
  std::optional<Progress> stored_;  // as the store has it
  StreamTable table_;

  // The transaction at hand.
  StampReader reader_;
  std::vector<Met> met_;  // as reader_.names()
  Progress next_;
};

// What the notes of a store say of one number. `find` gives a note's value; empty: none.
bool IsNumberSettled(const PartitionKey& key, const SequenceStamp& stamp,
                     const std::function<std::string(const std::string&)>& find);

}  // namespace once
