// Notes that wait, notes on their way, and topics that are not there.
#include "src/relay_marks.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace once {
namespace {

// Every consumer reads all of a side topic, and a key stays where it is: one partition is enough.
constexpr std::int32_t kPartition = 0;
constexpr absl::Duration kDeliveryTimeout = absl::Seconds(30);
constexpr absl::Duration kCreateTimeout = absl::Seconds(5);
// A broker may hear only after a moment of a topic that was created.
constexpr absl::Duration kSettlingTime = absl::Seconds(5);
// A side topic that was refused is tried again after this, and created at most so often.
constexpr absl::Duration kRestTime = absl::Minutes(1);
// Notes that are kept for one. A stream has one mark; a message that was parked has a void.
constexpr std::size_t kRestingNotesMax = 10'000;

std::string KeyOf(const OutgoingMessage& note) { return absl::StrCat(note.topic, "/", *note.key); }

}  // namespace

void RelayMarks::Mark(const std::string& topic, const std::string& stream, const StreamMark& mark) {
  MarkRecord record = EncodeMark(stream, mark);
  Put({.message = {.topic = MarksTopic(topic),
                   .key = std::move(record.key),
                   .value = std::move(record.value)},
       .owed = {}});
}

void RelayMarks::Void(const OwedVoid& owed, const std::string& stream) {
  MarkRecord record = EncodeVoid(stream, {.first = owed.sequence, .last = owed.sequence});
  Put({.message = {.topic = MarksTopic(owed.topic),
                   .key = std::move(record.key),
                   .value = std::move(record.value)},
       .owed = {owed}});
}

void RelayMarks::Put(Note note) {
  const auto rest = rests_.find(note.message.topic);
  if (rest != rests_.end() && context_.executor.Now() < rest->second.until) {
    return PutToRest(rest->second, std::move(note));
  }
  const std::string key = KeyOf(note.message);
  if (const auto same = waiting_keys_.find(key); same != waiting_keys_.end()) {
    *same->second = std::move(note);
    return;
  }
  waiting_keys_[key] = waiting_.insert(waiting_.end(), std::move(note));
}

void RelayMarks::PutToRest(Rest& rest, Note note) {
  const std::string key = KeyOf(note.message);
  if (const auto same = rest.keys.find(key); same != rest.keys.end()) {
    *same->second = std::move(note);
    return;
  }
  rest.keys[key] = rest.notes.insert(rest.notes.end(), std::move(note));
  if (rest.notes.size() <= kRestingNotesMax) return;
  const Note& oldest = rest.notes.front();
  if (!std::exchange(rest.was_overrun, true)) {
    context_.log.Log({.level = LogLevel::kError,
                      .time = context_.executor.Now(),
                      .action = "outbox_voids_forgotten",
                      .message = absl::StrCat("more than ", kRestingNotesMax,
                                              " notes wait for the topic: the oldest are "
                                              "forgotten, and consumers may report numbers as lost "
                                              "whose messages were parked"),
                      .fields = {{"messaging.destination.name", oldest.message.topic}}});
  }
  Settle(oldest);
  rest.keys.erase(KeyOf(oldest.message));
  rest.notes.pop_front();
}

void RelayMarks::Settle(const Note& note) {
  declared_.insert(declared_.end(), note.owed.begin(), note.owed.end());
}

void RelayMarks::Refuse(Note note, const absl::Status& why) {
  const absl::Time now = context_.executor.Now();
  const std::string topic = note.message.topic;
  Rest& rest = rests_[topic];
  if (now < rest.until) return PutToRest(rest, std::move(note));
  absl::Status created = why;
  if (context_.create_topic && now - rest.created_at >= kRestTime) {
    created = context_.create_topic(topic, now + kCreateTimeout);
    rest.created_at = context_.executor.Now();
    rest.was_created = created.ok();
  } else if (rest.was_created && now - rest.created_at < kSettlingTime) {
    created = absl::OkStatus();
  }
  if (created.ok()) {
    retry_at_ = context_.executor.Now() + context_.retry_interval;
    return Put(std::move(note));
  }
  StartRest(topic, rest, created);
  PutToRest(rest, std::move(note));
}

void RelayMarks::StartRest(const std::string& topic, Rest& rest, const absl::Status& why) {
  rest.until = context_.executor.Now() + kRestTime;
  for (auto note = waiting_.begin(); note != waiting_.end();) {
    const auto next = std::next(note);
    if (note->message.topic == topic) {
      waiting_keys_.erase(KeyOf(note->message));
      PutToRest(rest, std::move(*note));
      waiting_.erase(note);
    }
    note = next;
  }
  if (std::exchange(rest.was_reported, true)) return;
  context_.log.Log({.level = LogLevel::kWarning,
                    .time = context_.executor.Now(),
                    .action = "outbox_marks_delayed",
                    .message = absl::StrCat("until it is taken, a lost tail of the streams of this "
                                            "relay does not show, and numbers of parked messages "
                                            "may be reported as lost; create the topic, with one "
                                            "partition; it is tried again every ",
                                            absl::FormatDuration(kRestTime), ": ", why.ToString()),
                    .fields = {{"messaging.destination.name", topic}}});
}

// A mark that is newer may wait already, and counts.
void RelayMarks::EndRests() {
  for (auto& [topic, rest] : rests_) {
    if (rest.notes.empty() || context_.executor.Now() < rest.until) continue;
    rest.keys.clear();
    for (Note& note : std::exchange(rest.notes, {})) {
      if (!waiting_keys_.contains(KeyOf(note.message))) Put(std::move(note));
    }
  }
}

void RelayMarks::Retry() {
  client_.reset();
  retry_at_ = context_.executor.Now() + context_.retry_interval;
  for (std::list<Note> again = std::exchange(inside_, {}); !again.empty(); again.pop_front()) {
    // A later mark of the stream that waits already is the better one.
    Note& note = again.front();
    if (!waiting_keys_.contains(KeyOf(note.message))) Put(std::move(note));
  }
}

void RelayMarks::Report(const RecordReport& report) {
  const auto note = std::find_if(inside_.begin(), inside_.end(),
                                 [&report](const Note& sent) { return &sent == report.cookie; });
  if (note == inside_.end()) return;
  Note told = std::move(*note);
  inside_.erase(note);
  if (report.status.ok()) {
    if (const auto rest = rests_.find(told.message.topic); rest != rests_.end()) {
      rest->second.until = absl::InfinitePast();
      EndRests();
      rests_.erase(rest);
    }
    return Settle(told);
  }
  if (report.status.code() == absl::StatusCode::kInvalidArgument) {
    return Refuse(std::move(told), report.status);
  }
  if (!waiting_keys_.contains(KeyOf(told.message))) Put(std::move(told));
  retry_at_ = context_.executor.Now() + context_.retry_interval;
}

void RelayMarks::Send() {
  while (!waiting_.empty()) {
    const auto note = waiting_.begin();
    const absl::Status sent = client_->TrySend(
        {.message = note->message, .partition = kPartition, .stamp = "", .cookie = &*note});
    if (sent.code() == absl::StatusCode::kResourceExhausted) return;
    if (!sent.ok() && sent.code() != absl::StatusCode::kInvalidArgument) return Retry();
    waiting_keys_.erase(KeyOf(note->message));
    inside_.splice(inside_.end(), waiting_, note);
    if (sent.ok()) continue;
    Note refused = std::move(inside_.back());
    inside_.pop_back();
    Refuse(std::move(refused), sent);
    if (context_.executor.Now() < retry_at_) return;
  }
}

void RelayMarks::Step() {
  EndRests();
  if (is_empty() || context_.executor.Now() < retry_at_) return;
  if (client_ == nullptr) {
    absl::StatusOr<std::unique_ptr<RecordClient>> opened =
        context_.clients({.delivery_timeout = kDeliveryTimeout});
    if (!opened.ok()) {
      retry_at_ = context_.executor.Now() + context_.retry_interval;
      return;
    }
    client_ = *std::move(opened);
  }
  Send();
  if (client_ == nullptr) return;
  client_->Poll(context_.executor.Now(), [this](std::span<const RecordReport> reports) {
    for (const RecordReport& report : reports) Report(report);
  });
  if (!client_->status().ok()) Retry();
}

void RelayMarks::Reset() {
  client_.reset();
  waiting_.clear();
  waiting_keys_.clear();
  inside_.clear();
  declared_.clear();
  for (auto& [topic, rest] : rests_) {
    rest.notes.clear();
    rest.keys.clear();
  }
}

}  // namespace once
