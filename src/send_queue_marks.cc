// What a queue has to say of its streams, and whether it was heard.
#include <algorithm>
#include <utility>

#include "src/send_queue.h"
#include "src/test_hooks.h"

namespace once {
namespace {

// A stream whose voids cannot be declared forgets the oldest beyond so many ranges.
constexpr std::size_t kVoidRangesMax = 1000;

void DeclareAll(StreamProgress& progress, const StreamVoid& gone) {
  for (std::uint64_t number = gone.first; number <= gone.last; ++number) progress.Declare(number);
}

}  // namespace

void SendQueue::AddVoid(SendStream& stream, std::uint64_t number) {
  ++counts_.voids;
  if (!options_.has_marks) return;
  if (stream.is_markless || ONCE_PLANTED_BUG("void-without-word")) {
    return stream.progress.Declare(number);
  }
  if (!stream.voids.empty() && stream.voids.back().last + 1 == number) {
    stream.voids.back().last = number;
    return;
  }
  stream.voids.push_back({.first = number, .last = number});
  if (stream.voids.size() <= kVoidRangesMax) return;
  DeclareAll(stream.progress, stream.voids.front());
  stream.voids.erase(stream.voids.begin());
}

std::vector<MarkSend*> SendQueue::TakeMarks() {
  std::vector<MarkSend*> taken;
  const std::lock_guard lock(mutex_);
  const auto take = [&](SendStream& stream, const MarkRecord& record) -> MarkSend& {
    auto mark = std::make_unique<MarkSend>();
    MarkSend& one = *mark;
    one.is_mark = true;
    one.stream = &stream;
    one.message = {.topic = MarksTopic(stream.topic),
                   .partition = 0,
                   .key = record.key,
                   .value = record.value,
                   .headers = {}};
    ++stream.marks_inside;
    taken.push_back(&one);
    marks_.emplace(&one, std::move(mark));
    return one;
  };
  for (const auto& [name, topic] : topics_) {
    for (const auto& stream : topic->streams) {
      if (stream == nullptr || stream->is_markless) continue;
      for (const StreamVoid& gone : std::exchange(stream->voids, {})) {
        take(*stream, EncodeVoid(stream->name, gone)).gone = gone;
        ++stream->voids_inside;
      }
      const std::optional<StreamMark>& mark = stream->progress.mark();
      if (!mark || mark == stream->marked || stream->marks_inside > 0) continue;
      take(*stream, EncodeMark(stream->name, *mark)).mark = *mark;
    }
  }
  return taken;
}

void SendQueue::ReturnMark(MarkSend* mark) {
  const std::lock_guard lock(mutex_);
  ApplyMark(
      {.cookie = static_cast<RecordCookie*>(mark), .status = absl::UnavailableError("not sent")});
}

void SendQueue::ApplyMark(const RecordReport& report) {
  MarkSend& mark = *static_cast<MarkSend*>(static_cast<RecordCookie*>(report.cookie));
  SendStream& stream = *mark.stream;
  --stream.marks_inside;
  if (mark.gone) --stream.voids_inside;
  if (report.status.ok()) {
    ++counts_.marks;
    if (mark.gone) {
      DeclareAll(stream.progress, *mark.gone);
    } else {
      stream.marked = mark.mark;
    }
  } else if (mark.gone && stream.is_markless) {
    DeclareAll(stream.progress, *mark.gone);
  } else if (mark.gone) {
    stream.voids.insert(stream.voids.begin(), *mark.gone);
  }
  marks_.erase(&mark);
}

void SendQueue::SetMarkless(const std::string& topic, bool is_markless) {
  Lock lock(mutex_);
  const auto card = topics_.find(topic);
  if (card == topics_.end()) return;
  for (const auto& stream : card->second->streams) {
    if (stream == nullptr) continue;
    stream->is_markless = is_markless;
    if (!is_markless) continue;
    for (const StreamVoid& gone : std::exchange(stream->voids, {})) {
      DeclareAll(stream->progress, gone);
    }
  }
  Finished news;
  news.has_marks = true;
  Tell(lock, news);
}

}  // namespace once
