// The scripted broker: plain maps under one mutex, never held while the listener is called.
#include "tests/unit/scripted_source.h"

#include <algorithm>

namespace once {

std::int64_t ScriptedLog::Append(const TopicPartition& partition, ScriptedRecord record) {
  const std::lock_guard lock(mutex_);
  Partition& log = partitions_[partition];
  log.records.push_back(std::move(record));
  changed_.notify_all();
  return log.end() - 1;
}

void ScriptedLog::AppendHole(const TopicPartition& partition) {
  Append(partition, {.is_hole = true});
}

void ScriptedLog::DeleteBelow(const TopicPartition& partition, std::int64_t first) {
  const std::lock_guard lock(mutex_);
  Partition& log = partitions_[partition];
  while (log.first < first && !log.records.empty()) {
    log.records.erase(log.records.begin());
    ++log.first;
  }
  log.first = first;
}

void ScriptedLog::Recreate(const TopicPartition& partition) {
  const std::lock_guard lock(mutex_);
  partitions_[partition].first = 0;
  partitions_[partition].records.clear();
}

void ScriptedLog::Assign(std::vector<TopicPartition> partitions) {
  const std::lock_guard lock(mutex_);
  events_.push_back([this, partitions = std::move(partitions)](SourceListener& listener) {
    Assignment assignment{.number = 0, .partitions = partitions};
    {
      const std::lock_guard inner(mutex_);
      assignment.number = ++assignments_;
      for (const TopicPartition& name : partitions) {
        assigned_[name] = assignment.number;
        partitions_[name].is_fetching = false;
      }
    }
    listener.OnAssigned(assignment);
  });
  changed_.notify_all();
}

void ScriptedLog::Revoke(std::vector<TopicPartition> partitions, Revocation kind) {
  const std::lock_guard lock(mutex_);
  events_.push_back([this, kind, partitions = std::move(partitions)](SourceListener& listener) {
    if (kind == Revocation::kLost) {
      const std::lock_guard inner(mutex_);
      for (const TopicPartition& name : partitions) assigned_.erase(name);
    }
    listener.OnRevoked(partitions, kind);
    const std::lock_guard inner(mutex_);
    for (const TopicPartition& name : partitions) assigned_.erase(name);
  });
  changed_.notify_all();
}

void ScriptedLog::FailPartition(const TopicPartition& partition, absl::Status error) {
  const std::lock_guard lock(mutex_);
  events_.push_back([this, partition, error = std::move(error)](SourceListener& listener) {
    {
      const std::lock_guard inner(mutex_);
      partitions_[partition].is_fetching = false;  // a broken fetch goes on only after a Start
    }
    listener.OnPartitionError(partition, error);
  });
  changed_.notify_all();
}

void ScriptedLog::FailPoll(absl::Status error) {
  const std::lock_guard lock(mutex_);
  poll_error_ = std::move(error);
  changed_.notify_all();
}

void ScriptedLog::DeliverStray(const TopicPartition& partition, std::int64_t offset,
                               std::uint64_t assignment, ScriptedRecord record) {
  const std::lock_guard lock(mutex_);
  strays_.push_back({.partition = partition,
                     .offset = offset,
                     .assignment = assignment,
                     .record = std::move(record)});
  changed_.notify_all();
}

void ScriptedLog::BlockPolls() {
  const std::lock_guard lock(mutex_);
  is_blocking_ = true;
}

void ScriptedLog::SetCommitted(const TopicPartition& partition, std::int64_t offset,
                               std::string metadata) {
  const std::lock_guard lock(mutex_);
  partitions_[partition].committed = offset;
  partitions_[partition].metadata = std::move(metadata);
}

void ScriptedLog::AnswerVerifiedCommitsWith(absl::Status status) {
  const std::lock_guard lock(mutex_);
  verified_answer_ = std::move(status);
}

void ScriptedLog::AnswerHintsWith(absl::Status status) {
  const std::lock_guard lock(mutex_);
  hint_answer_ = std::move(status);
}

void ScriptedLog::IgnorePauses() {
  const std::lock_guard lock(mutex_);
  is_pausing_ = false;
}

void ScriptedLog::AnswerNextStartWith(absl::Status status) {
  const std::lock_guard lock(mutex_);
  start_answer_ = std::move(status);
}

void ScriptedLog::OnNextStart(std::function<void()> hook) {
  const std::lock_guard lock(mutex_);
  start_hook_ = std::move(hook);
}

void ScriptedLog::OnNextVerifiedCommit(std::function<void()> hook) {
  const std::lock_guard lock(mutex_);
  verified_hook_ = std::move(hook);
}

// The hook, taken out of its place; something to call in any case.
std::function<void()> ScriptedLog::TakeHook(std::function<void()>& hook) {
  const std::lock_guard lock(mutex_);
  const std::function<void()> taken = std::exchange(hook, nullptr);
  return taken ? taken : [] {};
}

void ScriptedLog::AnswerNextDescribeWith(absl::Status status) {
  const std::lock_guard lock(mutex_);
  describe_answer_ = std::move(status);
}

void ScriptedLog::AnswerDescriptionsOf(const TopicPartition& partition, absl::Status status) {
  const std::lock_guard lock(mutex_);
  partitions_[partition].description = std::move(status);
}

void ScriptedLog::SetRetention(absl::Duration retention) {
  const std::lock_guard lock(mutex_);
  retention_ = retention;
}

void ScriptedLog::FailRetention(absl::Status error) {
  const std::lock_guard lock(mutex_);
  retention_ = std::move(error);
}

std::vector<std::string> ScriptedLog::calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

void ScriptedLog::ForgetCalls() {
  const std::lock_guard lock(mutex_);
  calls_.clear();
}

std::vector<PollOptions> ScriptedLog::polls() const {
  const std::lock_guard lock(mutex_);
  return polls_;
}

std::optional<std::int64_t> ScriptedLog::committed(const TopicPartition& partition) const {
  const std::lock_guard lock(mutex_);
  const auto found = partitions_.find(partition);
  return found == partitions_.end() ? std::nullopt : found->second.committed;
}

std::string ScriptedLog::committed_metadata(const TopicPartition& partition) const {
  const std::lock_guard lock(mutex_);
  const auto found = partitions_.find(partition);
  return found == partitions_.end() ? "" : found->second.metadata;
}

std::size_t ScriptedLog::pinned_batches() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::count_if(
      batches_.begin(), batches_.end(), [](const auto& batch) { return !batch.expired(); }));
}

void ScriptedLog::WaitForPolls(std::size_t count) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return polls_.size() >= count; });
}

std::optional<ScriptedLog::Event> ScriptedLog::TakeEvent() {
  const std::lock_guard lock(mutex_);
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

// REQUIRES: mutex_ is held.
bool ScriptedLog::HasWork() const {
  const bool has_records =
      std::any_of(partitions_.begin(), partitions_.end(), [](const auto& entry) {
        return entry.second.is_fetching && entry.second.fetch_at < entry.second.end();
      });
  return has_records || !events_.empty() || !strays_.empty() || !poll_error_.ok();
}

// REQUIRES: mutex_ is held.
std::vector<ScriptedLog::Stray> ScriptedLog::TakeRecords(std::size_t messages_max) {
  std::vector<Stray> taken;
  for (; !strays_.empty(); strays_.pop_front()) taken.push_back(std::move(strays_.front()));
  // Every poll begins with another partition, so that none is starved by a small messages_max.
  std::vector<TopicPartition> order;
  for (const auto& [name, number] : assigned_) order.push_back(name);
  if (!order.empty()) {
    const auto first = static_cast<std::ptrdiff_t>(polls_.size() % order.size());
    std::rotate(order.begin(), order.begin() + first, order.end());
  }
  for (const TopicPartition& name : order) {
    Partition& log = partitions_[name];
    while (log.is_fetching && log.fetch_at < log.end() && taken.size() < messages_max) {
      const auto index = static_cast<std::size_t>(log.fetch_at++ - log.first);
      if (log.records[index].is_hole) continue;
      taken.push_back({.partition = name,
                       .offset = log.fetch_at - 1,
                       .assignment = assigned_[name],
                       .record = log.records[index]});
    }
  }
  return taken;
}

absl::StatusOr<Batch> ScriptedSource::Poll(const PollOptions& options, SourceListener& listener) {
  {
    std::unique_lock lock(log_->mutex_);
    log_->polls_.push_back(options);
    log_->changed_.notify_all();
    if (log_->is_blocking_) {
      log_->changed_.wait_until(lock, absl::ToChronoTime(options.deadline),
                                [&] { return log_->is_woken_ || log_->HasWork(); });
      log_->is_woken_ = false;
    }
    if (!log_->poll_error_.ok()) return log_->poll_error_;
  }
  while (const auto event = log_->TakeEvent()) (*event)(listener);
  const std::lock_guard lock(log_->mutex_);
  return MakeBatch(log_->TakeRecords(options.messages_max));
}

// The records themselves are the receive buffers that the messages point into.
Batch ScriptedSource::MakeBatch(std::vector<ScriptedLog::Stray> records) {
  const auto buffers = std::make_shared<std::vector<ScriptedLog::Stray>>(std::move(records));
  std::vector<Message> messages;
  for (const ScriptedLog::Stray& stray : *buffers) {
    MessageFields fields{.topic = stray.partition.topic,
                         .partition = stray.partition.partition,
                         .offset = stray.offset,
                         .timestamp_ms = stray.record.timestamp_ms,
                         .assignment = stray.assignment,
                         .header_reader = OwnedHeaderReader(),
                         .headers_object = &stray.record.headers};
    if (stray.record.key) fields.key = *stray.record.key;
    if (stray.record.value) fields.value = *stray.record.value;
    messages.emplace_back(fields);
  }
  if (!messages.empty()) log_->batches_.push_back(buffers);
  return {std::move(messages), buffers};
}

void ScriptedSource::Wake() {
  const std::lock_guard lock(log_->mutex_);
  log_->is_woken_ = true;
  log_->changed_.notify_all();
}

absl::Status ScriptedSource::Close(absl::Time, SourceListener& listener) {
  std::vector<TopicPartition> owned;
  {
    const std::lock_guard lock(log_->mutex_);
    for (const auto& [name, number] : log_->assigned_) owned.push_back(name);
  }
  if (!owned.empty()) listener.OnRevoked(owned, Revocation::kRevoked);
  const std::lock_guard lock(log_->mutex_);
  log_->assigned_.clear();
  log_->Note("close");
  return absl::OkStatus();
}

void ScriptedLog::Compact() {
  const std::lock_guard lock(mutex_);
  is_compacted_ = true;
}

absl::StatusOr<bool> ScriptedSource::IsCompacted(std::string_view) {
  const std::lock_guard lock(log_->mutex_);
  return log_->is_compacted_;
}

absl::StatusOr<absl::Duration> ScriptedSource::ReadRetention(std::string_view topic) {
  const std::lock_guard lock(log_->mutex_);
  if (log_->retention_) return *log_->retention_;
  return LogSource::ReadRetention(topic);
}

absl::StatusOr<std::vector<PartitionBounds>> ScriptedSource::Describe(
    std::span<const TopicPartition> partitions) {
  const std::lock_guard lock(log_->mutex_);
  if (const auto answer = std::exchange(log_->describe_answer_, std::nullopt)) return *answer;
  std::vector<PartitionBounds> bounds;
  for (const TopicPartition& name : partitions) {
    const ScriptedLog::Partition& log = log_->partitions_[name];
    bounds.push_back({.status = log.description,
                      .first = log.first,
                      .end = log.end(),
                      .committed = log.committed,
                      .committed_metadata = log.metadata});
  }
  return bounds;
}

absl::Status ScriptedSource::Start(std::span<const PartitionOffset> positions) {
  log_->TakeHook(log_->start_hook_)();
  const std::lock_guard lock(log_->mutex_);
  if (const auto answer = std::exchange(log_->start_answer_, std::nullopt)) return *answer;
  for (const PartitionOffset& position : positions) {
    log_->Note("start " + ToString(position.partition) + "@" + std::to_string(position.offset));
    if (!log_->assigned_.contains(position.partition)) continue;
    ScriptedLog::Partition& log = log_->partitions_[position.partition];
    log.is_fetching = true;
    log.fetch_at = std::max(position.offset, log.first);
  }
  return absl::OkStatus();
}

absl::Status ScriptedSource::Pause(std::span<const TopicPartition> partitions) {
  const std::lock_guard lock(log_->mutex_);
  for (const TopicPartition& name : partitions) {
    log_->Note("pause " + ToString(name));
    if (log_->is_pausing_) log_->partitions_[name].is_fetching = false;
  }
  return log_->is_pausing_ ? absl::OkStatus() : absl::UnavailableError("pause failed");
}

absl::Status ScriptedSource::Commit(std::span<const PartitionOffset> positions, CommitMode mode) {
  const bool is_hint = mode == CommitMode::kHint;
  const absl::Status answer = log_->Commit(positions, is_hint);
  if (answer.ok() && !is_hint) log_->TakeHook(log_->verified_hook_)();
  return answer;
}

absl::Status ScriptedLog::Commit(std::span<const PartitionOffset> positions, bool is_hint) {
  const std::lock_guard lock(mutex_);
  const absl::Status answer = is_hint ? hint_answer_ : verified_answer_;
  for (const PartitionOffset& position : positions) {
    Note((is_hint ? "commit " : "verify ") + ToString(position.partition) + "@" +
         std::to_string(position.offset));
    if (!answer.ok()) continue;
    partitions_[position.partition].committed = position.offset;
    partitions_[position.partition].metadata = position.metadata;
  }
  return answer;
}

std::optional<std::int64_t> ScriptedSource::Lag(const TopicPartition& partition) {
  const std::lock_guard lock(log_->mutex_);
  const ScriptedLog::Partition& log = log_->partitions_[partition];
  return log.end() - log.fetch_at;
}

}  // namespace once
