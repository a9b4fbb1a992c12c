// Each rule next to the event at which it is judged.
#include "src/testing/sending_invariants.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "once/abseil.h"
#include "once/id_extractor.h"
#include "src/loss_notes.h"
#include "src/stores/outgoing_codec.h"
#include "src/stream_state.h"
#include "src/stream_table.h"
#include "src/testing/header_text.h"

namespace once::testing {
namespace {

// What the log of outgoing messages knows, as a relay that begins now would read it.
absl::StatusOr<stores::OutgoingState> Load(const StoreState& state) {
  std::vector<stores::OutgoingFact> facts;
  for (const auto& [key, value] : state.outgoing.facts) {
    facts.push_back({.key = key, .value = value});
  }
  return stores::OutgoingState::Load(facts);
}

}  // namespace

std::optional<std::size_t> SendingInvariants::PostOf(const OutgoingMessage& message) {
  const std::string text = HeaderText(message.headers, kPostHeader);
  std::size_t post = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), post);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return post;
}

void SendingInvariants::Fail(Check check, std::string what) {
  checker_.Fail(check, std::move(what));
}

void SendingInvariants::OnMisuse(const Process& process, std::string_view what) {
  checker_.OnMisuse(process, what);
}

void SendingInvariants::OnApplied(const StoreChange& change, const StoreState& state) {
  for (const StoreChange::Range& range : change.dropped) {
    for (auto row = rows_.lower_bound(range.first);
         row != rows_.end() && row->first <= range.last;) {
      if (!published_.contains(row->second)) {
        Fail(Check::kPublished, absl::StrCat("message ", row->second, " (row ", row->first,
                                             ") is forgotten before the topic has it"));
      }
      row = rows_.erase(row);
    }
  }
  for (const EffectRow& effect : change.effects) committed_.insert(effect.id);
  if (!change.sent.empty()) {
    for (const auto& [number, row] : state.outgoing.rows) {
      const std::optional<std::size_t> post = PostOf(row.message);
      if (!post || !rows_.emplace(number, *post).second) continue;
      if (checker_.is_recording()) {
        checker_.Record("books", absl::StrCat("message ", *post, " is committed as row ", number));
      }
    }
  }
  if (!change.facts.empty()) LearnOwed(state);
}

void SendingInvariants::OnLost(const StoreState& /*before*/, const StoreState& state) {
  for (auto row = rows_.begin(); row != rows_.end();) {
    row = state.outgoing.rows.contains(row->first) ? std::next(row) : rows_.erase(row);
  }
  committed_.clear();
  for (const EffectRow& effect : state.effects) committed_.insert(effect.id);
}

void SendingInvariants::LearnOwed(const StoreState& state) {
  const absl::StatusOr<stores::OutgoingState> log = Load(state);
  if (!log.ok()) return Fail(Check::kMisuse, log.status().ToString());
  for (const OwedVoid& owed : log->ListOwed()) {
    const std::string name = StreamName(owed.topic, owed.partition,
                                        {.producer = store_->options().id, .epoch = owed.epoch});
    Stream& stream = streams_[name];
    stream.partition = owed.partition;
    if (!stream.owed.insert(owed.sequence).second) continue;
    if (stream.stored.contains(owed.sequence)) {
      Fail(Check::kNumbers, absl::StrCat("number ", owed.sequence, " of ", name,
                                         " is given up, and its message is in the topic"));
    }
  }
}

void SendingInvariants::OnPublish(const Process& /*process*/, const OutgoingMessage& message) {
  if (message.topic == topic_) return OnRecord(message);
  if (message.topic == MarksTopic(topic_)) return OnMark(message);
  Fail(Check::kPublished, "something is published to " + message.topic);
}

void SendingInvariants::OnRecord(const OutgoingMessage& message) {
  const std::optional<std::size_t> post = PostOf(message);
  const std::string text = HeaderText(message.headers, kSequenceHeader);
  const std::optional<SequenceStamp> stamp = DecodeStamp(text, topic_, *message.partition);
  if (!post || !stamp) return Fail(Check::kNumbers, "a record has no stamp, or is not of here");
  const std::int64_t offset = topics_->offsets().back();
  if (checker_.is_recording()) {
    checker_.Record("broker",
                    absl::StrCat("stores message ", *post, " as number ", stamp->sequence, " of ",
                                 ToAbsl(stamp->stream), " at offset ", offset),
                    *message.partition);
  }
  if (!IsCommitted(*post)) {
    Fail(Check::kPublished, absl::StrCat("message ", *post, " is published without its commit"));
  }
  CheckPlaced(*stamp, message, *post);
  if (!published_.contains(*post)) CheckOrder(message, *post);
  published_.insert(*post);

  const std::string name(stamp->stream);
  Stream& stream = streams_[name];
  stream.partition = *message.partition;
  const auto [copies, is_new] = stream.stored.try_emplace(stamp->sequence, Copies{.post = *post});
  if (copies->second.post != *post) {
    Fail(Check::kNumbers, absl::StrCat("number ", stamp->sequence, " of ", name, " names message ",
                                       copies->second.post, " and message ", *post));
  }
  if (is_new &&
      (stream.owed.contains(stamp->sequence) || stream.declared.contains(stamp->sequence))) {
    Fail(Check::kNumbers,
         absl::StrCat("number ", stamp->sequence, " of ", name, " is sent after it was given up"));
  }
  for (const auto& [other, number] : numbers_[*post]) {
    const bool is_same = other == name && number == stamp->sequence;
    if (is_same || streams_[other].owed.contains(number)) continue;
    Fail(Check::kNumbers, absl::StrCat("message ", *post, " is number ", number, " of ", other,
                                       ", and number ", stamp->sequence, " of ", name));
  }
  numbers_[*post].insert({name, stamp->sequence});
  copies->second.offsets.push_back(offset);
  if (on_stored_(message, *post)) {
    copies->second.has_arrived = true;
  } else {
    vanished_.insert({name, stamp->sequence});
  }
}

// Partition and number are durable before the first copy is sent.
void SendingInvariants::CheckPlaced(const SequenceStamp& stamp, const OutgoingMessage& message,
                                    std::size_t post) {
  const absl::StatusOr<stores::OutgoingState> log = Load(store_->state());
  if (!log.ok()) return Fail(Check::kMisuse, log.status().ToString());
  for (const auto& [number, round] : log->rounds()) {
    if (round.epoch != stamp.by.epoch) continue;
    for (const Placement& placement : round.placements) {
      const auto row = rows_.find(placement.number);
      if (placement.sequence == stamp.sequence && placement.partition == *message.partition &&
          row != rows_.end() && row->second == post) {
        return CheckContent(placement.number, message, post);
      }
    }
  }
  Fail(Check::kNumbers, absl::StrCat("message ", post, " is sent as number ", stamp.sequence,
                                     ", and the store does not know of it"));
}

// The record is what was committed, with a stamp, and an id if it had none; all of a key lies in
// one partition.
void SendingInvariants::CheckContent(std::int64_t number, const OutgoingMessage& stored,
                                     std::size_t post) {
  const auto& rows = store_->state().outgoing.rows;
  const auto found = rows.find(number);
  if (found == rows.end()) return;
  const OutgoingMessage& committed = found->second.message;
  const bool had_id = !HeaderText(committed.headers, kProducerIdHeader).empty();
  std::vector<OwnedHeader> headers = stored.headers;
  std::erase_if(headers, [had_id](const OwnedHeader& header) {
    return header.name == kSequenceHeader || (!had_id && header.name == kProducerIdHeader);
  });
  if (stored.key != committed.key || stored.value != committed.value ||
      headers != committed.headers) {
    Fail(Check::kPublished, absl::StrCat("message ", post, " is published with another content"));
  }
  if (!committed.key) return;
  const auto [place, is_first] = places_.try_emplace(*committed.key, *stored.partition);
  if (place->second == *stored.partition) return;
  Fail(Check::kPublished, absl::StrCat("key ", *committed.key, " is published to partition ",
                                       *stored.partition, " after partition ", place->second));
}

// Whatever was committed before it under its key is in the topic, or nowhere.
void SendingInvariants::CheckOrder(const OutgoingMessage& message, std::size_t post) {
  const auto row = std::find_if(rows_.begin(), rows_.end(),
                                [post](const auto& entry) { return entry.second == post; });
  if (row == rows_.end() || !message.key) return;
  for (auto before = rows_.begin(); before != row; ++before) {
    const auto& earlier = store_->state().outgoing.rows;
    const auto found = earlier.find(before->first);
    if (found == earlier.end() || found->second.message.key != message.key) continue;
    if (published_.contains(before->second)) continue;
    Fail(Check::kPublished,
         absl::StrCat("message ", post, " is published before message ", before->second,
                      " of its key, which was committed before it"));
  }
}

void SendingInvariants::OnMark(const OutgoingMessage& message) {
  const std::string key = message.key.value_or("");
  const std::string value = message.value.value_or("");
  const std::optional<DecodedMark> mark = DecodeMark(key, value, topic_);
  if (!mark) return Fail(Check::kLosses, "the side topic has a record that nobody can read");
  const auto found = streams_.find(std::string(mark->stream));
  if (found == streams_.end()) {
    return Fail(Check::kLosses,
                absl::StrCat("a mark tells of a stream that is not: ", ToAbsl(mark->stream)));
  }
  Stream& stream = found->second;
  if (mark->mark) return CheckMark(stream, *mark);
  for (std::uint64_t number = mark->gone->first; number <= mark->gone->last; ++number) {
    if (!stream.owed.contains(number)) {
      Fail(Check::kNumbers, absl::StrCat("number ", number, " of ", ToAbsl(mark->stream),
                                         " is declared void, and nobody has given it up"));
    }
    stream.declared.try_emplace(number, scheduler_.Now());
  }
}

void SendingInvariants::CheckMark(Stream& stream, const DecodedMark& decoded) {
  const StreamMark& mark = *decoded.mark;
  stream.marked = std::max(stream.marked, mark.last);
  for (std::uint64_t number = 1; number <= mark.last; ++number) {
    if (stream.owed.contains(number)) continue;
    const auto copies = stream.stored.find(number);
    const bool is_within =
        copies != stream.stored.end() &&
        std::any_of(copies->second.offsets.begin(), copies->second.offsets.end(),
                    [&mark](std::int64_t offset) {
                      return offset >= mark.first_offset && offset <= mark.last_offset;
                    });
    if (is_within) continue;
    return Fail(Check::kLosses,
                absl::StrCat("a mark says that ", ToAbsl(decoded.stream), " has come to ",
                             mark.last, " between offsets ", mark.first_offset, " and ",
                             mark.last_offset, "; number ", number, " is not there"));
  }
}

bool SendingInvariants::HasOnlyParked() const {
  const absl::StatusOr<stores::OutgoingState> log = Load(store_->state());
  if (!log.ok() || !log->rounds().empty()) return false;
  const std::map<std::int64_t, bool> stuck = FindStuck();
  const auto& rows = store_->state().outgoing.rows;
  return std::all_of(rows.begin(), rows.end(), [&](const auto& entry) {
    const auto found = stuck.find(entry.first);
    if (found == stuck.end()) return false;
    const bool is_first = found->second;
    return !is_first || log->parked().contains(entry.first);
  });
}

std::map<std::int64_t, bool> SendingInvariants::FindStuck() const {
  std::map<std::int64_t, bool> stuck;
  std::set<std::string> keys;
  for (const auto& [number, row] : store_->state().outgoing.rows) {
    const std::optional<std::size_t> post = PostOf(row.message);
    const std::string key = row.message.key.value_or("");
    if (keys.contains(key)) {
      stuck.emplace(number, false);
    } else if (post && too_large_.contains(*post)) {
      keys.insert(key);
      stuck.emplace(number, true);
    }
  }
  return stuck;
}

std::set<std::uint64_t> SendingInvariants::FindEpochs() const {
  std::set<std::uint64_t> epochs;
  const absl::StatusOr<stores::OutgoingState> log = Load(store_->state());
  if (!log.ok()) return epochs;
  for (const StreamProgress& stream : log->ListStreams()) epochs.insert(stream.epoch);
  for (const OwedVoid& owed : log->ListOwed()) epochs.insert(owed.epoch);
  return epochs;
}

bool SendingInvariants::IsLost(const Stream& stream, std::uint64_t number) const {
  const auto copies = stream.stored.find(number);
  return copies != stream.stored.end() && !copies->second.has_arrived &&
         !stream.declared.contains(number);
}

// A void that is on its way to the consumers excuses an alarm for a while; what has vanished and
// was sent again may be missed until the copy is met.
void SendingInvariants::OnLoss(const Process& process, const LossEvent& event) {
  if (process.is_dead()) return;
  const std::string name = StreamName(topic_, event.partition.partition,
                                      {.producer = event.producer, .epoch = event.epoch});
  const auto found = streams_.find(name);
  for (std::uint64_t number = event.first; number <= event.last; ++number) {
    bool is_right = false;
    if (found != streams_.end()) {
      const Stream& stream = found->second;
      const auto copies = stream.stored.find(number);
      const auto declared = stream.declared.find(number);
      const bool is_late =
          declared != stream.declared.end() && scheduler_.Now() - declared->second > gap_grace_;
      const bool has_vanished = vanished_.contains({name, number});
      const bool has_arrived = copies != stream.stored.end() && copies->second.has_arrived;
      if (event.kind == LossKind::kSuspected) {
        is_right = has_vanished || (stream.owed.contains(number) && !is_late);
      } else if (event.kind == LossKind::kRecovered) {
        is_right = has_arrived || stream.owed.contains(number);
      }
    }
    if (is_right) continue;
    return checker_.Fail(Check::kLosses,
                         absl::StrCat("number ", number, " of ", name, " is said to be ",
                                      ToAbsl(ToString(event.kind)), ", and it is not"),
                         event.partition.partition);
  }
}

std::optional<std::string> SendingInvariants::FindUntold(
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
    std::set<std::uint64_t> lost;
    for (const auto& [number, copies] : stream.stored) {
      if (IsLost(stream, number)) lost.insert(number);
    }
    if (lost == told[name]) continue;
    return absl::StrCat("of ", name, " is lost: {", absl::StrJoin(lost, ","),
                        "}, and the report says: {", absl::StrJoin(told[name], ","), "}");
  }
  return std::nullopt;
}

void SendingInvariants::CheckEnd() {
  const std::map<std::int64_t, bool> stuck = FindStuck();
  for (const std::string& id : committed_) {
    const bool waits = std::any_of(rows_.begin(), rows_.end(), [&](const auto& row) {
      return EffectIdOf(row.second) == id && stuck.contains(row.first);
    });
    const bool is_published =
        std::any_of(published_.begin(), published_.end(),
                    [&id](std::size_t post) { return EffectIdOf(post) == id; });
    if (waits || is_published) continue;
    return Fail(Check::kPublished, absl::StrCat("message ", id, " is never published"));
  }
  for (const auto& [name, stream] : streams_) {
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
