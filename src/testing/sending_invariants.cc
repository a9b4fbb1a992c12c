// Each rule next to the event at which it is judged.
#include "src/testing/sending_invariants.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/id_extractor.h"
#include "src/testing/header_text.h"

namespace once::testing {

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
      const bool is_given_up = given_up_.contains(row->first);
      if (is_given_up) gone_.insert(row->second);
      if (!published_.contains(row->second) && !is_given_up) {
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

// Whoever gives up a message that is not parked loses it.
void SendingInvariants::OnGivenUp(std::int64_t row, const absl::Status& told) {
  const auto found = rows_.find(row);
  if (checker_.is_recording()) {
    checker_.Record("operator", absl::StrCat("gives up row ", row, ": ", told.ToString()));
  }
  if (!told.ok() || found == rows_.end()) return;
  Fail(Check::kPublished, absl::StrCat("message ", found->second, " (row ", row,
                                       ") was given up, and it is still there"));
}

void SendingInvariants::LearnOwed(const StoreState& state) {
  const absl::StatusOr<stores::OutgoingState> log = LoadOutgoing(state);
  if (!log.ok()) return Fail(Check::kMisuse, log.status().ToString());
  for (const OwedVoid& owed : log->ListOwed()) {
    const std::string name = StreamName(owed.topic, owed.partition,
                                        {.producer = store_->options().id, .epoch = owed.epoch});
    ledger_.Owe({name, owed.sequence}, owed.partition);
  }
}

void SendingInvariants::OnPublish(const Process& /*process*/, const OutgoingMessage& message) {
  if (message.topic == topic_) return OnRecord(message);
  if (message.topic == MarksTopic(topic_)) return ledger_.OnMark(message);
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
  if (gone_.contains(*post)) {
    Fail(Check::kPublished, absl::StrCat("message ", *post, " is published after it was given up"));
  }
  if (!IsCommitted(*post)) {
    Fail(Check::kPublished, absl::StrCat("message ", *post, " is published without its commit"));
  }
  // A copy that comes late may find its round finished.
  const StreamLedger::Number number(stamp->stream, stamp->sequence);
  if (ledger_.MessageOf(number) != *post) CheckPlaced(*stamp, message, *post);
  if (!published_.contains(*post)) CheckOrder(message, *post);
  published_.insert(*post);

  const bool is_new = !ledger_.IsStored(number);
  ledger_.Name(number, *message.partition, *post);
  if (is_new && (ledger_.IsOwed(number) || ledger_.IsDeclared(number))) {
    Fail(Check::kNumbers, absl::StrCat("number ", number.second, " of ", number.first,
                                       " is sent after it was given up"));
  }
  for (const StreamLedger::Number& other : numbers_[*post]) {
    if (other == number || ledger_.IsOwed(other)) continue;
    Fail(Check::kNumbers,
         absl::StrCat("message ", *post, " is number ", other.second, " of ", other.first,
                      ", and number ", number.second, " of ", number.first));
  }
  numbers_[*post].insert(number);
  ledger_.AddCopy(number, offset, on_stored_(message, *post));
}

// Partition and number are durable before the first copy is sent.
void SendingInvariants::CheckPlaced(const SequenceStamp& stamp, const OutgoingMessage& message,
                                    std::size_t post) {
  const absl::StatusOr<stores::OutgoingState> log = LoadOutgoing(store_->state());
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

void SendingInvariants::CheckEnd() {
  const std::map<std::int64_t, bool> stuck = FindStuck(store_->state(), too_large_);
  for (const std::string& id : committed_) {
    const bool waits = std::any_of(rows_.begin(), rows_.end(), [&](const auto& row) {
      return EffectIdOf(row.second) == id && stuck.contains(row.first);
    });
    const bool is_published =
        std::any_of(published_.begin(), published_.end(),
                    [&id](std::size_t post) { return EffectIdOf(post) == id; });
    const bool is_gone = std::any_of(gone_.begin(), gone_.end(),
                                     [&id](std::size_t post) { return EffectIdOf(post) == id; });
    if (waits || is_published || is_gone) continue;
    return Fail(Check::kPublished, absl::StrCat("message ", id, " is never published"));
  }
  ledger_.CheckEnd([](const std::string&) { return true; });
}

}  // namespace once::testing
