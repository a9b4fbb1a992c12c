// One transaction after the other over the streams of a partition.
#include "src/sequence_tracker.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/test_hooks.h"

namespace once {
namespace {

std::string DamageOf(const PartitionKey& key) {
  return absl::StrCat("a note on the numbered messages of ", ToString(key.partition),
                      " in the store is damaged; look at the store, or set loss.mode to "
                      "LossMode::kObserve to go on without it");
}

}  // namespace

SequenceTracker::SequenceTracker(PartitionKey key, const LossOptions& options, bool is_durable)
    : key_(std::move(key)),
      options_(options),
      is_durable_(is_durable),
      notes_{.heads = LossNoteKey(LossNoteKind::kHead, key_),
             .losses = LossNoteKey(LossNoteKind::kLosses, key_),
             .damage = DamageOf(key_)},
      table_(options.streams_max) {}

std::string SequenceTracker::KeyOf(LossNoteKind kind) const { return LossNoteKey(kind, key_); }

void SequenceTracker::Begin() {
  for (const Met& met : met_) {
    if (met.state && ONCE_PLANTED_BUG("undone-numbers-kept")) table_.Put(met.name, *met.state);
  }
  judge_until_ms_.reset();
  stamped_.clear();
  met_.clear();
  places_.clear();
  reader_.Begin();
  unstamped_here_ = 0;
}

std::size_t SequenceTracker::Meet(const std::string& packed) {
  const auto [place, is_new] = places_.try_emplace(packed, met_.size());
  if (is_new) met_.push_back({.name = packed});
  return place->second;
}

void SequenceTracker::Read(const Message& message) {
  const std::optional<StampReader::Stamped> stamped = reader_.Read(message);
  if (!stamped) {
    ++unstamped_here_;
    return;
  }
  // Until a Stage() the streams that were met are those that the reader has met.
  if (stamped->stream == met_.size()) Meet(reader_.names().back());
  stamped_.push_back({.stream = stamped->stream, .number = stamped->number});
}

absl::Status SequenceTracker::LoadProgress(StoreTransaction* transaction, const TrackedStep& step) {
  if (!is_loaded_ && transaction != nullptr) {
    const std::string keys[] = {KeyOf(LossNoteKind::kPartition), KeyOf(LossNoteKind::kWaiting)};
    const std::string_view views[] = {keys[0], keys[1]};
    std::string values[2];
    if (absl::Status status = transaction->FindNotes(views, values); !status.ok()) return status;
    if (!values[0].empty()) {
      const std::optional<PartitionProgress> progress = DecodeProgress(values[0]);
      const std::optional<std::vector<std::string>> waiting = DecodeNames(values[1]);
      if (!progress || !waiting) return absl::DataLossError(notes_.damage);
      progress_ = *progress;
      stored_ = progress;
      waiting_ = {waiting->begin(), waiting->end()};
      is_loaded_ = true;
    }
  }
  if (!is_loaded_) {
    progress_ = {.began = step.position_before, .position = step.position_before};
    is_loaded_ = true;
  }
  next_ = progress_;
  const bool is_ahead = step.position_before > progress_.position;
  if (is_ahead && !step.is_gap_lost && !step.is_rowless) {
    ++next_.era;
    next_.began = step.position_before;
  }
  next_.position = step.position_after;
  return absl::OkStatus();
}

absl::Status SequenceTracker::LoadStreams(StoreTransaction* transaction) {
  std::vector<std::size_t> wanted;
  std::vector<std::string_view> streams;
  for (std::size_t i = 0; i < met_.size(); ++i) {
    Met& met = met_[i];
    if (met.is_loaded) continue;
    met.before = table_.Find(met.name);
    met.is_loaded = met.before.has_value() || transaction == nullptr;
    if (met.is_loaded) continue;
    wanted.push_back(i);
    streams.push_back(met.name);
  }
  if (wanted.empty()) return absl::OkStatus();
  std::vector<std::optional<StreamState>> found(wanted.size());
  if (absl::Status status = FindStreams(*transaction, notes_, streams, found); !status.ok()) {
    return status;
  }
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    met_[wanted[i]].before = std::move(found[i]);
    met_[wanted[i]].is_loaded = true;
  }
  return absl::OkStatus();
}

void SequenceTracker::Receive(const Stamped& stamped, const TrackedStep& step) {
  Met& met = met_[stamped.stream];
  if (!met.state) {
    met.state = StreamState(is_whole() ? 1 : stamped.number);
    met.state->EnterEra(next_.era);
  }
  if (met.state->era() != next_.era) {
    met.state->SkipTo(stamped.number, step.log_time_ms, options_.ranges_max);
    met.state->EnterEra(next_.era);
  }
  met.state->Receive(stamped.number, step.log_time_ms, options_.ranges_max, met.findings);
}

// Every record up to the mark's has been read, or never will be.
void SequenceTracker::JudgeMark(Met& met, const StreamMark& mark, const TrackedStep& step) {
  const bool is_whole_here = mark.first_offset >= next_.began && !is_forgetful();
  const bool is_end_here = mark.last_offset >= next_.began;
  if (!met.state) {
    // Of a stream that began before we did, the mark's own record is all that can be told of.
    if (is_forgetful() || !is_end_here) return;
    met.state = StreamState(is_whole_here ? 1 : mark.last);
    met.state->EnterEra(next_.era);
  }
  if (met.state->era() != next_.era) {
    met.state->SkipTo(is_end_here ? mark.last : mark.last + 1, step.log_time_ms,
                      options_.ranges_max);
    met.state->EnterEra(next_.era);
  }
  if (is_whole_here) {
    met.state->BeginAtOne(step.log_time_ms, options_.ranges_max, met.findings);
  }
  met.state->Expect(mark.last, step.log_time_ms, options_.ranges_max, met.findings);
}

void SequenceTracker::MeetJudged(std::int64_t position) {
  for (const std::string& name : waiting_) Meet(name);
  for (const std::string& name : fresh_) Meet(name);
  std::size_t count = 0;
  for (const auto& [offset, name] : ripening_) {
    if (offset >= position || count++ == kMarksAtOnce) break;
    Meet(name);
  }
}

absl::Status SequenceTracker::Stage(StoreTransaction* transaction, const TrackedStep& step,
                                    std::vector<OwnedNote>& notes) {
  if (absl::Status status = LoadProgress(transaction, step); !status.ok()) return status;
  position_ = step.position_after;
  if (judge_until_ms_) MeetJudged(position_);
  if (absl::Status status = LoadStreams(transaction); !status.ok()) return status;
  for (Met& met : met_) {
    met.state = met.before;
    met.findings.clear();
  }
  for (const Stamped& stamped : stamped_) Receive(stamped, step);
  for (Met& met : met_) {
    const auto side = sides_.find(met.name);
    if (side != sides_.end() && judge_until_ms_) {
      for (const StreamMark& mark : side->second.marks) {
        if (mark.last_offset < position_) JudgeMark(met, mark, step);
      }
    }
    if (!met.state) continue;
    if (side != sides_.end()) {
      for (const StreamVoid& gone : side->second.voids) {
        met.state->Void(gone.first, gone.last, options_.ranges_max, met.findings);
      }
    }
    if (judge_until_ms_) met.state->ReportSeenUntil(*judge_until_ms_, met.findings);
  }
  StageWaiting(notes);
  if (transaction != nullptr) StageNotes(notes);
  return absl::OkStatus();
}

void SequenceTracker::StageWaiting(std::vector<OwnedNote>& notes) {
  next_waiting_ = waiting_;
  is_waiting_changed_ = false;
  next_.missing = progress_.missing;
  for (Met& met : met_) {
    if (!met.state) continue;
    if (met.state->is_waiting()) {
      if (next_waiting_.size() < kWaitingStreamsMax || next_waiting_.contains(met.name)) {
        is_waiting_changed_ |= next_waiting_.insert(met.name).second;
      } else {
        met.state->ReportSeenUntil(std::numeric_limits<std::int64_t>::max(), met.findings);
      }
    } else {
      is_waiting_changed_ |= next_waiting_.erase(met.name) > 0;
    }
    next_.missing += met.state->CountMissing() - (met.before ? met.before->CountMissing() : 0);
  }
  if (!is_waiting_changed_ || !is_durable_) return;
  notes.push_back({.key = KeyOf(LossNoteKind::kWaiting),
                   .value = EncodeNames({next_waiting_.begin(), next_waiting_.end()})});
}

void SequenceTracker::StageNotes(std::vector<OwnedNote>& notes) {
  for (const Met& met : met_) {
    if (!met.state) continue;
    StageStream(notes_, met.name, met.before ? &*met.before : nullptr, *met.state, notes);
  }
  if (stored_ == next_) return;
  notes.push_back({.key = KeyOf(LossNoteKind::kPartition), .value = EncodeProgress(next_)});
}

void SequenceTracker::Adopt(std::vector<LossEvent>& events) {
  for (const Met& met : met_) {
    if (judge_until_ms_) ForgetSide(met, position_);
    if (!met.state) continue;
    if (met.state != met.before) table_.Put(met.name, *met.state);
    const std::optional<ProducerEpoch> by = UnpackStream(met.name);
    for (const StreamFinding& finding : met.findings) {
      if (!by) continue;
      events.push_back({.kind = finding.kind,
                        .partition = key_.partition,
                        .producer = std::string(by->producer),
                        .epoch = by->epoch,
                        .first = finding.first,
                        .last = finding.last});
    }
  }
  progress_ = next_;
  if (is_durable_) stored_ = next_;
  waiting_ = std::move(next_waiting_);
  next_waiting_.clear();
  unstamped_ += unstamped_here_;
  Begin();
}

// What the side topic said and has been judged: marks up to the position, voids up to the end of
// the stream.
void SequenceTracker::ForgetSide(const Met& met, std::int64_t position) {
  fresh_.erase(met.name);
  const auto found = sides_.find(met.name);
  if (found == sides_.end()) return;
  Side& side = found->second;
  if (!side.marks.empty()) ripening_.erase({side.marks.front().last_offset, met.name});
  std::erase_if(side.marks, [&](const StreamMark& mark) { return mark.last_offset < position; });
  if (!side.marks.empty()) ripening_.insert({side.marks.front().last_offset, met.name});
  std::erase_if(side.voids, [&](const StreamVoid& gone) {
    return met.state && gone.last <= met.state->high();
  });
  if (side.marks.empty() && side.voids.empty()) sides_.erase(found);
}

bool SequenceTracker::Hold(const SideRecord& record, std::int64_t position) {
  const auto known = sides_.find(record.stream);
  const bool has_room = known == sides_.end()
                            ? sides_.size() < kHeldStreamsMax
                            : !record.gone || known->second.voids.size() < kHeldVoidsMax;
  if (!has_room) {
    if (has_judgeable(position)) return false;
    has_dropped_ = true;
    return true;
  }
  Side& side = sides_[record.stream];
  if (record.gone && !ONCE_PLANTED_BUG("voids-ignored")) {
    side.voids.push_back(*record.gone);
    fresh_.insert(record.stream);
  }
  if (!record.mark || ONCE_PLANTED_BUG("marks-ignored")) return true;
  if (side.marks.empty()) {
    ripening_.insert({record.mark->last_offset, record.stream});
    side.marks.push_back(*record.mark);
  } else if (side.marks.size() == 1) {
    side.marks.push_back(*record.mark);
  } else {
    side.marks.back() = *record.mark;
  }
  return true;
}

bool SequenceTracker::has_judgeable(std::int64_t position) const {
  return !fresh_.empty() || (!ripening_.empty() && ripening_.begin()->first < position);
}

std::uint64_t SequenceTracker::TakeUnstamped() { return std::exchange(unstamped_, 0); }

}  // namespace once
