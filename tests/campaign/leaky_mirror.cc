// Reads one side, plans what gets lost, writes the other side.
#include "tests/campaign/leaky_mirror.h"

#include <algorithm>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "once/sequence.h"

namespace once::campaign {
namespace {

// A gap has a neighbourhood of so many numbers to itself.
constexpr std::uint64_t kSlotNumbers = 8;
constexpr std::size_t kBatch = 2'000;

std::optional<std::string> FindHeader(const OutgoingMessage& message, std::string_view name) {
  for (const OwnedHeader& header : message.headers) {
    if (header.name == name) return header.value;
  }
  return std::nullopt;
}

}  // namespace

LeakyMirror::LeakyMirror(kafka::testing::TestBroker& from, kafka::testing::TestBroker& to,
                         std::string topic, Dice dice)
    : to_(to), topic_(std::move(topic)), dice_(dice) {
  records_.resize(static_cast<std::size_t>(from.PartitionCount(topic_)));
  for (auto& stored : from.DumpTopic(topic_)) {
    const std::int32_t at = stored.message.partition.value_or(-1);
    Partition& partition = records_.at(static_cast<std::size_t>(at));
    if (stored.offset != static_cast<std::int64_t>(partition.records.size())) {
      throw std::runtime_error(absl::StrCat("a hole before offset ", stored.offset));
    }
    Record& record = partition.records.emplace_back();
    record.message = std::move(stored.message);
    const std::string stamp = FindHeader(record.message, kSequenceHeader).value_or("");
    if (const auto decoded = DecodeStamp(stamp, topic_, at)) {
      record.number = {.stream = {.partition = at,
                                  .producer = std::string(decoded->by.producer),
                                  .epoch = decoded->by.epoch},
                       .sequence = decoded->sequence};
    }
  }
  ReadMarks(from);
}

void LeakyMirror::ReadMarks(kafka::testing::TestBroker& from) {
  for (auto& stored : from.DumpTopic(MarksTopic(topic_))) {
    const OutgoingMessage& record = marks_.emplace_back(std::move(stored.message));
    const std::string key = record.key.value_or("");
    const std::string value = record.value.value_or("");
    const auto decoded = DecodeMark(key, value, topic_);
    if (!decoded) throw std::runtime_error("foreign bytes among the marks: " + key);
    StreamTruth& stream = marked_[{.partition = decoded->partition,
                                   .producer = std::string(decoded->by.producer),
                                   .epoch = decoded->by.epoch}];
    if (decoded->mark) stream.marked = std::max(stream.marked, decoded->mark->last);
    if (!decoded->gone) continue;
    for (std::uint64_t i = decoded->gone->first; i <= decoded->gone->last; ++i) {
      stream.given_up.insert(i);
    }
  }
}

std::int64_t LeakyMirror::records() const {
  std::int64_t count = 0;
  for (const Partition& partition : records_) {
    count += static_cast<std::int64_t>(partition.records.size());
  }
  return count;
}

OutgoingMessage LeakyMirror::Next(Partition& partition) {
  const std::int64_t offset = partition.forwarded++;
  const Record& record = partition.records[static_cast<std::size_t>(offset)];
  if (!record.number || !left_out_.contains(*record.number)) return record.message;
  OutgoingMessage instead{.topic = topic_,
                          .partition = record.message.partition,
                          .key = record.message.key,
                          .value = "p nothing",
                          .headers = {}};
  std::optional<Number> number;
  if (offset > 0 && dice_.OneIn(2)) {
    const std::int64_t earlier = dice_.Below(offset);
    const Record& again = partition.records[static_cast<std::size_t>(earlier)];
    if (!again.number || !left_out_.contains(*again.number)) {
      instead = again.message;
      // What was deleted unread must not arrive after all.
      if (partition.deleted.contains(earlier)) {
        std::erase_if(instead.headers,
                      [](const OwnedHeader& header) { return header.name == kSequenceHeader; });
      } else {
        number = again.number;
        ++copied_twice_;
      }
    }
  }
  partition.instead[offset] = number;
  return instead;
}

void LeakyMirror::Forward(int hundredths) {
  std::vector<OutgoingMessage> batch;
  for (Partition& partition : records_) {
    const auto end = static_cast<std::int64_t>(partition.records.size()) * hundredths / 100;
    while (partition.forwarded < end) {
      batch.push_back(Next(partition));
      if (batch.size() < kBatch) continue;
      to_.Produce(batch);
      batch.clear();
    }
  }
  if (!batch.empty()) to_.Produce(batch);
}

void LeakyMirror::ForwardMarks(int hundredths) {
  const std::size_t end = marks_.size() * static_cast<std::size_t>(hundredths) / 100;
  if (marks_forwarded_ >= end) return;
  const auto at = [this](std::size_t i) { return marks_.begin() + static_cast<std::ptrdiff_t>(i); };
  to_.Produce(std::vector<OutgoingMessage>(at(marks_forwarded_), at(end)));
  marks_forwarded_ = end;
}

std::vector<LeakyMirror::Slot> LeakyMirror::FindSlots() {
  // Numbers of which no copy was forwarded.
  std::map<StreamId, std::set<std::uint64_t>> free;
  for (const Partition& partition : records_) {
    for (const Record& record : partition.records) {
      if (record.number) free[record.number->stream].insert(record.number->sequence);
    }
  }
  for (const Partition& partition : records_) {
    for (std::int64_t i = 0; i < partition.forwarded; ++i) {
      const auto& number = partition.records[static_cast<std::size_t>(i)].number;
      if (number) free[number->stream].erase(number->sequence);
    }
  }
  std::vector<Slot> slots;
  for (const auto& [stream, numbers] : free) {
    if (numbers.empty()) continue;
    const std::uint64_t last = *numbers.rbegin();
    const auto marked = marked_.find(stream);
    const bool is_end_marked = marked != marked_.end() && marked->second.marked >= last;
    for (std::uint64_t first = *numbers.begin(); first <= last; first += kSlotNumbers) {
      const bool is_end = last - first < kSlotNumbers;
      if (is_end && !is_end_marked) continue;
      // The first number of a slot stays, and parts it from what was left out before, unless it is
      // the stream's first one. The rest of a stream is left out as a whole.
      const std::uint64_t begin = first == 1 && dice_.OneIn(2) ? 1 : first + 1;
      if (is_end && begin > last) continue;
      const auto some = [this] { return static_cast<std::uint64_t>(dice_.Below(3)); };
      const std::uint64_t from = is_end || begin == 1 ? begin : begin + some();
      const std::uint64_t to = is_end ? last : std::min(from + some(), first + kSlotNumbers - 1);
      slots.push_back({.stream = stream, .first = from, .last = to});
    }
  }
  return slots;
}

void LeakyMirror::PlanGaps(std::size_t count) {
  std::vector<Slot> slots = FindSlots();
  if (slots.size() < count) {
    throw std::runtime_error(absl::StrCat("there is room for ", slots.size(), " gaps only"));
  }
  for (std::size_t i = 0; i < count; ++i) {
    const auto drawn =
        static_cast<std::size_t>(dice_.Below(static_cast<std::int64_t>(slots.size() - i)));
    std::swap(slots[i], slots[i + drawn]);
    for (std::uint64_t number = slots[i].first; number <= slots[i].last; ++number) {
      left_out_.insert({.stream = slots[i].stream, .sequence = number});
    }
  }
}

void LeakyMirror::NoteDeleted(std::int32_t partition, std::int64_t first, std::int64_t end) {
  for (std::int64_t i = first; i < end; ++i) {
    records_.at(static_cast<std::size_t>(partition)).deleted.insert(i);
  }
}

std::map<StreamId, StreamTruth> LeakyMirror::truth() const {
  std::map<StreamId, StreamTruth> streams = marked_;
  for (const Partition& partition : records_) {
    for (std::size_t i = 0; i < partition.records.size(); ++i) {
      const auto offset = static_cast<std::int64_t>(i);
      if (partition.deleted.contains(offset)) continue;
      const auto instead = partition.instead.find(offset);
      const std::optional<Number>& number =
          instead != partition.instead.end() ? instead->second : partition.records[i].number;
      if (number) streams[number->stream].arrived.insert(number->sequence);
    }
  }
  return streams;
}

}  // namespace once::campaign
