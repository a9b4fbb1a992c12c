// What is judged by the numbers of a topic.
#include "src/testing/stream_ledger.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "once/abseil.h"
#include "src/loss_notes.h"
#include "src/stream_state.h"
#include "src/stream_table.h"

namespace once::testing {

void StreamLedger::Fail(Check check, std::string what) const {
  checker_.Fail(check, std::move(what));
}

const StreamLedger::Stream* StreamLedger::Find(const std::string& name) const {
  const auto found = streams_.find(name);
  return found == streams_.end() ? nullptr : &found->second;
}

bool StreamLedger::Name(const Number& number, std::int32_t partition, std::size_t message) {
  Stream& stream = streams_[number.first];
  stream.partition = partition;
  const auto [copies, is_new] =
      stream.stored.try_emplace(number.second, Copies{.message = message});
  if (copies->second.message == message) return true;
  Fail(Check::kNumbers,
       absl::StrCat("number ", number.second, " of ", number.first, " names message ",
                    copies->second.message, " and message ", message));
  return false;
}

void StreamLedger::AddCopy(const Number& number, std::int64_t offset, bool has_arrived) {
  Stream& stream = streams_[number.first];
  Copies& copies = stream.stored[number.second];
  copies.offsets.push_back(offset);
  if (!has_arrived) {
    vanished_.insert(number);
    return;
  }
  if (!copies.arrived) copies.arrived = scheduler_.Now();
  Show(stream, number.second);
}

void StreamLedger::Show(Stream& stream, std::uint64_t number) {
  if (!stream.shown.empty() && stream.shown.back().first >= number) return;
  stream.shown.emplace_back(number, scheduler_.Now());
}

void StreamLedger::Owe(const Number& number, std::int32_t partition) {
  Stream& stream = streams_[number.first];
  stream.partition = partition;
  if (!stream.owed.insert(number.second).second || !IsStored(number)) return;
  Fail(Check::kNumbers, absl::StrCat("number ", number.second, " of ", number.first,
                                     " is given up, and its message is in the topic"));
}

bool StreamLedger::IsStored(const Number& number) const {
  const Stream* const stream = Find(number.first);
  return stream != nullptr && stream->stored.contains(number.second);
}

bool StreamLedger::IsOwed(const Number& number) const {
  const Stream* const stream = Find(number.first);
  return stream != nullptr && stream->owed.contains(number.second);
}

bool StreamLedger::IsDeclared(const Number& number) const {
  const Stream* const stream = Find(number.first);
  return stream != nullptr && stream->declared.contains(number.second);
}

std::optional<std::size_t> StreamLedger::MessageOf(const Number& number) const {
  const Stream* const stream = Find(number.first);
  if (stream == nullptr) return std::nullopt;
  const auto copies = stream->stored.find(number.second);
  if (copies == stream->stored.end()) return std::nullopt;
  return copies->second.message;
}

bool StreamLedger::IsGivenUp(const std::string& name, const Stream& stream,
                             std::uint64_t number) const {
  return stream.owed.contains(number) || (is_given_up_ != nullptr && is_given_up_(name, number));
}

void StreamLedger::OnMark(const OutgoingMessage& message) {
  const std::string key = message.key.value_or("");
  const std::string value = message.value.value_or("");
  const std::optional<DecodedMark> mark = DecodeMark(key, value, topic_);
  if (!mark) return Fail(Check::kLosses, "the side topic has a record that nobody can read");
  const std::string name(mark->stream);
  const bool is_known = streams_.contains(name);
  // All that a producer has ever sent to a partition may have been given up.
  if (!is_known && (mark->mark || !IsGivenUp(name, {}, mark->gone->first))) {
    return Fail(Check::kLosses, "a mark tells of a stream that is not: " + name);
  }
  Stream& stream = streams_[name];
  stream.partition = mark->partition;
  if (mark->mark) return CheckMark(name, stream, *mark->mark);
  for (std::uint64_t number = mark->gone->first; number <= mark->gone->last; ++number) {
    if (!IsGivenUp(name, stream, number)) {
      Fail(Check::kNumbers, absl::StrCat("number ", number, " of ", name,
                                         " is declared void, and nobody has given it up"));
    }
    stream.declared.try_emplace(number, scheduler_.Now());
  }
}

void StreamLedger::CheckMark(const std::string& name, Stream& stream, const StreamMark& mark) {
  stream.marked = std::max(stream.marked, mark.last);
  Show(stream, mark.last);
  for (std::uint64_t number = 1; number <= mark.last; ++number) {
    if (IsGivenUp(name, stream, number)) continue;
    const auto copies = stream.stored.find(number);
    const bool is_within =
        copies != stream.stored.end() &&
        std::any_of(copies->second.offsets.begin(), copies->second.offsets.end(),
                    [&mark](std::int64_t offset) {
                      return offset >= mark.first_offset && offset <= mark.last_offset;
                    });
    if (is_within) continue;
    return Fail(Check::kLosses,
                absl::StrCat("a mark says that ", name, " has come to ", mark.last,
                             " between offsets ", mark.first_offset, " and ", mark.last_offset,
                             "; number ", number, " is not there"));
  }
}

// A void that is on its way to the consumers excuses an alarm for a while; so does a copy that
// comes late. What has vanished and was sent again may be missed until the copy is met.
bool StreamLedger::IsMissingRightly(const Number& number) const {
  if (vanished_.contains(number)) return true;
  const Stream* const stream = Find(number.first);
  if (stream == nullptr) return false;
  const auto declared = stream->declared.find(number.second);
  if (declared != stream->declared.end() && scheduler_.Now() - declared->second > gap_grace_) {
    return false;
  }
  const auto shown =
      std::find_if(stream->shown.begin(), stream->shown.end(),
                   [&number](const auto& one) { return one.first >= number.second; });
  if (shown == stream->shown.end()) return false;
  const auto copies = stream->stored.find(number.second);
  if (copies == stream->stored.end() || !copies->second.arrived) return true;
  return *copies->second.arrived - shown->second > gap_grace_;
}

void StreamLedger::OnLoss(const Process& process, const LossEvent& event) {
  if (process.is_dead()) return;
  const std::string name = StreamName(topic_, event.partition.partition,
                                      {.producer = event.producer, .epoch = event.epoch});
  const Stream* const stream = Find(name);
  for (std::uint64_t number = event.first; number <= event.last; ++number) {
    bool is_right = false;
    if (event.kind == LossKind::kSuspected) {
      is_right = IsMissingRightly({name, number});
    } else if (event.kind == LossKind::kRecovered && stream != nullptr) {
      const auto copies = stream->stored.find(number);
      const bool has_arrived = copies != stream->stored.end() && copies->second.arrived.has_value();
      is_right = has_arrived || stream->declared.contains(number);
    }
    if (is_right) continue;
    return checker_.Fail(Check::kLosses,
                         absl::StrCat("number ", number, " of ", name, " is said to be ",
                                      ToAbsl(ToString(event.kind)), ", and it is not"),
                         event.partition.partition);
  }
}

// What consumers can know of and never get.
std::set<std::uint64_t> StreamLedger::FindLost(const Stream& stream) const {
  std::set<std::uint64_t> lost;
  const std::uint64_t last = stream.shown.empty() ? 0 : stream.shown.back().first;
  for (std::uint64_t number = 1; number <= last; ++number) {
    const auto copies = stream.stored.find(number);
    const bool has_arrived = copies != stream.stored.end() && copies->second.arrived.has_value();
    if (!has_arrived && !stream.declared.contains(number)) lost.insert(number);
  }
  return lost;
}

std::optional<std::string> StreamLedger::FindUntold(
    const StoreState& consumers, const std::vector<PartitionKey>& partitions) const {
  std::map<std::string, std::set<std::uint64_t>> told;
  for (const auto& [key, value] : consumers.notes) {
    const std::optional<LossNoteName> name = ParseLossNoteKey(key);
    if (!name || name->kind != LossNoteKind::kLosses) continue;
    if (std::find(partitions.begin(), partitions.end(), name->partition) == partitions.end()) {
      continue;
    }
    const std::optional<ProducerEpoch> by = UnpackStream(name->stream);
    const std::optional<StreamLosses> losses = DecodeLosses(value);
    if (!by || !losses || losses->given_up > 0) return "a note of losses is not as it should be";
    const std::string stream = StreamName(topic_, name->partition.partition.partition, *by);
    for (const MissingRange& range : losses->missing) {
      if (range.kind != MissingKind::kReported) {
        return absl::StrCat("number ", range.first, " of ", stream, " is still waited for");
      }
      for (std::uint64_t number = range.first; number <= range.last; ++number) {
        told[stream].insert(number);
      }
    }
  }
  for (const auto& [name, stream] : streams_) {
    const std::set<std::uint64_t> lost = FindLost(stream);
    if (lost == told[name]) continue;
    return absl::StrCat("of ", name, " is lost: {", absl::StrJoin(lost, ","),
                        "}, and the report says: {", absl::StrJoin(told[name], ","), "}");
  }
  return std::nullopt;
}

void StreamLedger::CheckEnd(const std::function<bool(const std::string& stream)>& is_whole) const {
  for (const auto& [name, stream] : streams_) {
    if (!is_whole(name)) continue;
    std::uint64_t last = stream.stored.empty() ? 0 : stream.stored.rbegin()->first;
    if (!stream.owed.empty()) last = std::max(last, *stream.owed.rbegin());
    for (std::uint64_t number = 1; number <= last; ++number) {
      if (!stream.stored.contains(number) && !stream.declared.contains(number)) {
        return Fail(Check::kNumbers,
                    absl::StrCat("number ", number, " of ", name, " is neither sent nor void"));
      }
    }
    if (!stream.stored.empty() && stream.marked < last) {
      return Fail(Check::kLosses, absl::StrCat(name, " has come to ", last,
                                               ", and its last mark says ", stream.marked));
    }
  }
}

}  // namespace once::testing
