// A LeakyMirror copies a topic of numbered messages to another cluster, where it has the same name,
// partitions and offsets, and leaves out what it is told to: the numbers and marks of producers
// mean there what they mean here. In the place of what it leaves out it puts a record without a
// number, or once more an earlier one.
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "adapters/kafka/tests/kafka_test_broker.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/loss_truth.h"

namespace once::campaign {

class LeakyMirror {
 public:
  // Reads all of the topic and of its marks. The topics on the other side are empty.
  // REQUIRES: the brokers outlive it.
  LeakyMirror(kafka::testing::TestBroker& from, kafka::testing::TestBroker& to, std::string topic,
              Dice dice);

  // Copies of each partition what lies below this share of it, in hundredths.
  void Forward(int hundredths);
  // Copies marks and voids likewise, in the order in which they were written.
  void ForwardMarks(int hundredths);
  // Of what is not copied yet, so many ranges of numbers will be left out: in the middle of
  // streams, at their beginnings, their marked ends, and some as a whole.
  void PlanGaps(std::size_t count);
  // These offsets were deleted before the consumer had read them.
  void NoteDeleted(std::int32_t partition, std::int64_t first, std::int64_t end);

  // As the consumer must know it once everything is copied, if nothing more is left out.
  std::map<StreamId, StreamTruth> truth() const;

  std::int32_t partitions() const { return static_cast<std::int32_t>(records_.size()); }
  std::int64_t records() const;
  std::int64_t forwarded(std::int32_t partition) const { return Of(partition).forwarded; }
  std::int64_t copied_twice() const { return copied_twice_; }

 private:
  struct Number {
    StreamId stream;
    std::uint64_t sequence = 0;

    friend auto operator<=>(const Number&, const Number&) = default;
  };
  struct Record {
    OutgoingMessage message;
    std::optional<Number> number;
  };
  struct Partition {
    std::vector<Record> records;  // by offset
    std::int64_t forwarded = 0;
    std::map<std::int64_t, std::optional<Number>> instead;  // at offsets of what was left out
    std::set<std::int64_t> deleted;
  };
  struct Slot {
    StreamId stream;
    std::uint64_t first = 0;
    std::uint64_t last = 0;
  };

  const Partition& Of(std::int32_t partition) const {
    return records_.at(static_cast<std::size_t>(partition));
  }
  void ReadMarks(kafka::testing::TestBroker& from);
  OutgoingMessage Next(Partition& partition);
  // Whole streams of what is not copied yet, each with the least and the greatest number of it.
  std::vector<Slot> FindSlots();

  kafka::testing::TestBroker& to_;
  const std::string topic_;
  Dice dice_;
  std::vector<Partition> records_;
  std::vector<OutgoingMessage> marks_;
  std::size_t marks_forwarded_ = 0;
  std::map<StreamId, StreamTruth> marked_;  // without what has arrived
  std::set<Number> left_out_;
  std::int64_t copied_twice_ = 0;
};

}  // namespace once::campaign
