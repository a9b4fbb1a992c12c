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
  if (disabled_.contains(note.message.topic)) return Settle(note);
  const std::string key = absl::StrCat(note.message.topic, "/", *note.message.key);
  if (const auto same = waiting_keys_.find(key); same != waiting_keys_.end()) {
    *same->second = std::move(note);
    return;
  }
  waiting_keys_[key] = waiting_.insert(waiting_.end(), std::move(note));
}

void RelayMarks::Settle(const Note& note) {
  declared_.insert(declared_.end(), note.owed.begin(), note.owed.end());
}

void RelayMarks::GiveUp(Note note, const absl::Status& why) {
  const std::string topic = note.message.topic;
  if (disabled_.contains(topic)) return Settle(note);
  absl::Status created = why;
  if (context_.create_topic && created_.insert(topic).second) {
    created = context_.create_topic(topic, context_.executor.Now() + kCreateTimeout);
  }
  if (created.ok()) {
    retry_at_ = context_.executor.Now() + context_.retry_interval;
    return Put(std::move(note));
  }
  disabled_.insert(topic);
  context_.log.Log({.level = LogLevel::kWarning,
                    .time = context_.executor.Now(),
                    .action = "outbox_marks_disabled",
                    .message = "a lost tail of the streams of this relay will not show: create the "
                               "topic, with one partition, and start again: " +
                               created.ToString(),
                    .fields = {{"messaging.destination.name", topic}}});
  Settle(note);
}

void RelayMarks::Retry() {
  client_.reset();
  retry_at_ = context_.executor.Now() + context_.retry_interval;
  for (std::list<Note> again = std::exchange(inside_, {}); !again.empty(); again.pop_front()) {
    // A later mark of the stream that waits already is the better one.
    Note& note = again.front();
    const std::string key = absl::StrCat(note.message.topic, "/", *note.message.key);
    if (!waiting_keys_.contains(key)) Put(std::move(note));
  }
}

void RelayMarks::Report(const RecordReport& report) {
  const auto note = std::find_if(inside_.begin(), inside_.end(),
                                 [&report](const Note& sent) { return &sent == report.cookie; });
  if (note == inside_.end()) return;
  Note told = std::move(*note);
  inside_.erase(note);
  if (report.status.ok()) return Settle(told);
  if (report.status.code() == absl::StatusCode::kInvalidArgument) {
    return GiveUp(std::move(told), report.status);
  }
  const std::string key = absl::StrCat(told.message.topic, "/", *told.message.key);
  if (!waiting_keys_.contains(key)) Put(std::move(told));
  retry_at_ = context_.executor.Now() + context_.retry_interval;
}

void RelayMarks::Send() {
  while (!waiting_.empty()) {
    const auto note = waiting_.begin();
    const absl::Status sent = client_->TrySend(
        {.message = note->message, .partition = kPartition, .stamp = "", .cookie = &*note});
    if (sent.code() == absl::StatusCode::kResourceExhausted) return;
    if (!sent.ok() && sent.code() != absl::StatusCode::kInvalidArgument) return Retry();
    waiting_keys_.erase(absl::StrCat(note->message.topic, "/", *note->message.key));
    inside_.splice(inside_.end(), waiting_, note);
    if (sent.ok()) continue;
    Note refused = std::move(inside_.back());
    inside_.pop_back();
    GiveUp(std::move(refused), sent);
    if (context_.executor.Now() < retry_at_) return;
  }
}

void RelayMarks::Step() {
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
}

}  // namespace once
