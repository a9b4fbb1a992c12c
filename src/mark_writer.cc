// Rounds of marks.
#include "src/mark_writer.h"

#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/sequence.h"

namespace once {
namespace {

constexpr absl::Duration kTopicTimeout = absl::Seconds(5);
constexpr absl::Duration kLookAgain = absl::Minutes(1);

}  // namespace

void MarkWriter::Start() {
  task_ = options_.executor.Spawn("once-marks", [this] { RunTask(); });
}

void MarkWriter::Stop() {
  is_stopping_ = true;
  wake_->Set();
  task_.reset();
}

void MarkWriter::RunTask() {
  while (!is_stopping_ && !options_.queue.is_dead()) {
    wake_->WaitUntil(options_.executor.Now() + options_.stamps.mark_interval);
    if (!is_stopping_) RunRound();
  }
}

void MarkWriter::RunRound() {
  // A stream that had no topic for its marks is among them once it has one.
  for (auto& [marks_topic, known] : topics_) {
    if (known.is_there || options_.executor.Now() < known.look_again) continue;
    if (HasTopic(marks_topic)) {
      options_.queue.SetMarkless(std::string(*MarkedTopic(marks_topic)), false);
    }
  }
  for (MarkSend* mark : options_.queue.TakeMarks()) Send(mark);
}

void MarkWriter::Send(MarkSend* mark) {
  const std::string topic = mark->stream->topic;
  const std::shared_ptr<RecordClient> client = options_.queue.client();
  const bool is_sent =
      client != nullptr && HasTopic(mark->message.topic) &&
      client->TrySend({.message = mark->message, .cookie = static_cast<RecordCookie*>(mark)}).ok();
  if (is_sent) return;
  options_.queue.ReturnMark(mark);
  const auto known = topics_.find(MarksTopic(topic));
  if (known != topics_.end() && known->second.is_missing) options_.queue.SetMarkless(topic, true);
}

bool MarkWriter::HasTopic(const std::string& marks_topic) {
  Known& known = topics_[marks_topic];
  if (known.is_there) return true;
  const absl::Time now = options_.executor.Now();
  if (now < known.look_again) return false;
  const absl::Status found = FindTopic(marks_topic);
  known.is_there = found.ok();
  known.is_missing = !found.ok() && !absl::IsUnavailable(found);
  known.look_again = now + (known.is_missing ? kLookAgain : kTopicTimeout);
  if (found.ok() || std::exchange(known.was_reported, true)) return known.is_there;
  options_.log.Log(
      {.level = LogLevel::kWarning,
       .time = now,
       .action = "marks_missing",
       .message = absl::StrCat(
           "no marks can be written, so a lost tail does not show: ", found.message(),
           "; create the topic (one partition, compacted), or set .stamps.create_marks_topic"),
       .fields = {{"once.topic", marks_topic}}});
  return false;
}

absl::Status MarkWriter::FindTopic(const std::string& marks_topic) {
  const std::shared_ptr<RecordClient> client = options_.queue.client();
  if (client == nullptr) return absl::UnavailableError("there is no client");
  const absl::Time deadline = options_.executor.Now() + kTopicTimeout;
  const absl::Status found = client->CountPartitions(marks_topic, deadline).status();
  if (!absl::IsInvalidArgument(found) || options_.stamps.create_marks_topic == nullptr) {
    return found;
  }
  return options_.stamps.create_marks_topic(marks_topic, deadline);
}

}  // namespace once
