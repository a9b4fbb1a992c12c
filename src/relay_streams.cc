// Streams by name; those of the present incarnation also by topic and partition, quickly.
#include "src/relay_streams.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "src/test_hooks.h"

namespace once {

void RelayStreams::Load(std::span<const StreamProgress> stored) {
  open_.clear();
  streams_.clear();
  for (const StreamProgress& progress : stored) {
    RelayStream& stream = Find(progress.epoch, progress.topic, progress.partition);
    stream.progress = progress;
    stream.staged_last = progress.last;
    stream.is_changed = false;
  }
}

void RelayStreams::Learn(std::span<const StreamProgress> stored) {
  for (const StreamProgress& more : stored) {
    if (more.epoch == epoch_) continue;
    RelayStream& stream = Find(more.epoch, more.topic, more.partition);
    StreamProgress& known = stream.progress;
    // What is known and not written yet stays to be written: both are true.
    known.last = std::max(known.last, more.last);
    stream.staged_last = std::max(stream.staged_last, known.last);
    known.last_offset = std::max(known.last_offset, more.last_offset);
    if (known.first_offset < 0 ||
        (more.first_offset >= 0 && more.first_offset < known.first_offset)) {
      known.first_offset = more.first_offset;
    }
  }
}

void RelayStreams::BeginEpoch(std::uint64_t epoch) {
  open_.clear();
  epoch_ = epoch;
}

RelayStream& RelayStreams::Find(std::uint64_t epoch, const std::string& topic,
                                std::int32_t partition) {
  const auto [found, is_new] = streams_.try_emplace(Key{epoch, topic, partition});
  RelayStream& stream = found->second;
  if (is_new) {
    stream.progress = {.epoch = epoch, .topic = topic, .partition = partition};
    stream.name = StreamName(topic, partition, {.producer = producer_, .epoch = epoch});
  }
  return stream;
}

RelayStream& RelayStreams::Open(const std::string& topic, std::int32_t partition) {
  std::vector<RelayStream*>& partitions = open_[topic];
  const auto index = static_cast<std::size_t>(partition);
  if (index >= partitions.size()) partitions.resize(index + 1);
  if (partitions[index] == nullptr) partitions[index] = &Find(epoch_, topic, partition);
  return *partitions[index];
}

std::uint64_t RelayStreams::GiveNumber(RelayStream& stream) {
  assert(stream.progress.epoch == epoch_);
  return ++stream.staged_last;
}

std::vector<StreamProgress> RelayStreams::ListChanged() const {
  std::vector<StreamProgress> changed;
  for (const auto& [key, stream] : streams_) {
    if (!stream.is_changed && stream.staged_last == stream.progress.last) continue;
    changed.push_back(stream.progress);
    changed.back().last = stream.staged_last;
  }
  return changed;
}

void RelayStreams::KeepNumbers() {
  for (auto& [key, stream] : streams_) {
    stream.progress.last = stream.staged_last;
    stream.is_changed = false;
    if (ONCE_PLANTED_BUG("mark-beyond-acknowledged")) stream.finished_last = stream.staged_last;
  }
}

void RelayStreams::TakeNumbersBack() {
  for (auto& [key, stream] : streams_) stream.staged_last = stream.progress.last;
}

void RelayStreams::Finish(RelayStream& stream, std::uint64_t sequence, std::int64_t offset) {
  stream.finished_last = std::max(stream.finished_last, sequence);
  if (offset < 0) return;
  StreamProgress& progress = stream.progress;
  if (progress.first_offset < 0 || offset < progress.first_offset) progress.first_offset = offset;
  progress.last_offset = std::max(progress.last_offset, offset);
  stream.is_changed = true;
  stream.is_mark_due = true;
}

std::vector<RelayStream*> RelayStreams::TakeDue() {
  std::vector<RelayStream*> due;
  for (auto& [key, stream] : streams_) {
    if (std::exchange(stream.is_mark_due, false)) due.push_back(&stream);
  }
  return due;
}

std::optional<StreamMark> RelayStreams::MarkOf(const RelayStream& stream, std::uint64_t last) {
  if (last == 0 || stream.progress.first_offset < 0) return std::nullopt;
  return StreamMark{.last = last,
                    .last_offset = stream.progress.last_offset,
                    .first_offset = stream.progress.first_offset};
}

std::vector<std::uint64_t> RelayStreams::FindFormerEpochs() const {
  std::vector<std::uint64_t> epochs;
  for (const auto& [key, stream] : streams_) {
    const std::uint64_t epoch = std::get<0>(key);
    if (epoch != epoch_ && (epochs.empty() || epochs.back() != epoch)) epochs.push_back(epoch);
  }
  return epochs;
}

std::vector<const RelayStream*> RelayStreams::StreamsOf(std::uint64_t epoch) const {
  std::vector<const RelayStream*> streams;
  for (const auto& [key, stream] : streams_) {
    if (std::get<0>(key) == epoch) streams.push_back(&stream);
  }
  return streams;
}

void RelayStreams::Forget(std::uint64_t epoch) {
  std::erase_if(streams_, [epoch](const auto& entry) { return std::get<0>(entry.first) == epoch; });
}

}  // namespace once
