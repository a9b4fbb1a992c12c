// The calls of FakeSource: joining and leaving the group, polling, committing.
#include "src/testing/fake_source.h"

#include <algorithm>
#include <cassert>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::testing {
namespace {

absl::Status Dead() { return absl::CancelledError("fake log: the process is dead"); }
absl::Status Failed() { return absl::UnavailableError("fake log: failure"); }

// What a batch owns: copies, so that a view that outlives its batch is seen by AddressSanitizer.
struct Delivered {
  std::string topic;
  LogRecord record;
};

}  // namespace

FakeSource::~FakeSource() {
  for (auto& [id, member] : log_.members_) {
    if (member.source == this) {
      log_.Leave(id);
      break;
    }
  }
}

std::set<int> FakeSource::OwnedPartitions() const {
  std::set<int> partitions;
  for (const auto& [partition, fetch] : owned_) partitions.insert(partition);
  return partitions;
}

FakeSource::Fetch* FakeSource::Find(const TopicPartition& partition) {
  if (partition.topic != log_.options_.topic) return nullptr;
  const auto it = owned_.find(partition.partition);
  return it == owned_.end() ? nullptr : &it->second;
}

bool FakeSource::IsValid(const TopicPartition& partition) const {
  return partition.topic == log_.options_.topic && partition.partition >= 0 &&
         partition.partition < log_.options_.partitions;
}

void FakeSource::Revoke(SourceListener& listener, const std::set<int>& partitions,
                        Revocation kind) {
  if (partitions.empty()) return;
  std::vector<TopicPartition> names;
  for (const int partition : partitions) names.push_back(Name(partition));
  // Still ours until the callback returns; a lost one is gone already.
  if (kind == Revocation::kLost) {
    for (const int partition : partitions) owned_.erase(partition);
  }
  listener.OnRevoked(names, kind);
  for (const int partition : partitions) owned_.erase(partition);
}

bool FakeSource::Rejoin(SourceListener& listener, FakeLog::Member& member) {
  if (!log_.is_rebalancing_ || member.has_joined) return false;
  if (log_.options_.protocol == RebalanceProtocol::kEager) {
    Revoke(listener, OwnedPartitions(), Revocation::kRevoked);
  }
  if (process_->is_dead()) return true;
  // The callback may have cost us the membership.
  FakeLog::Member* still = log_.FindMember(member_);
  if (still == nullptr) return true;
  still->has_joined = true;
  log_.TryComplete();
  return true;
}

bool FakeSource::HearAssignment(SourceListener& listener, FakeLog::Member& member) {
  if (!member.has_news) return false;
  member.has_news = false;
  std::set<int> moved;
  Assignment assignment;
  for (const auto& [partition, fetch] : owned_) {
    if (!member.target.contains(partition)) moved.insert(partition);
  }
  for (const int partition : member.assigned) {
    if (owned_.contains(partition)) continue;
    assignment.partitions.push_back(Name(partition));
  }
  if (!moved.empty()) {
    Revoke(listener, moved, Revocation::kRevoked);
    if (process_->is_dead() || log_.FindMember(member_) == nullptr) return true;
  }
  if (!assignment.partitions.empty()) {
    assignment.number = ++assignments_;
    for (const TopicPartition& name : assignment.partitions) {
      owned_[name.partition] = {.assignment = assignment.number};
    }
    listener.OnAssigned(assignment);
    if (process_->is_dead()) return true;
  }
  // What was let go can be given to somebody else with one more rebalance.
  FakeLog::Member* still = log_.FindMember(member_);
  if (still != nullptr && !moved.empty()) {
    if (!log_.is_rebalancing_) log_.BeginRebalance();
    still->has_joined = true;
    log_.TryComplete();
  }
  return true;
}

bool FakeSource::Serve(SourceListener& listener) {
  if (member_ != 0 && log_.FindMember(member_) == nullptr) {
    if (is_deaf_) return false;
    member_ = 0;
    Revoke(listener, OwnedPartitions(), Revocation::kLost);
    return true;
  }
  if (member_ == 0) {
    member_ = log_.Join(*this);
    return true;
  }
  FakeLog::Member& member = *log_.FindMember(member_);
  return HearAssignment(listener, member) || Rejoin(listener, member);
}

void FakeSource::ReportErrors(SourceListener& listener) {
  for (auto& [partition, fetch] : owned_) {
    const FakeLog::Partition& log = log_.partitions_[static_cast<std::size_t>(partition)];
    if (!fetch.position.has_value() || fetch.has_failed) continue;
    if (*fetch.position >= log.first && *fetch.position <= log.end) continue;
    fetch.has_failed = true;
    const absl::Status error = absl::OutOfRangeError(
        absl::StrCat("fake log: ", *fetch.position, " is outside ", log.first, "…", log.end));
    fetch.position.reset();
    listener.OnPartitionError(Name(partition), error);
    return;
  }
}

Batch FakeSource::Fill(std::size_t messages_max) {
  auto buffers = std::make_shared<std::vector<Delivered>>();
  std::vector<MessageFields> fields;
  std::vector<int> order;
  for (const auto& [partition, fetch] : owned_) order.push_back(partition);
  if (!order.empty()) {
    std::rotate(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(turn_++ % order.size()),
                order.end());
  }
  messages_max = std::min(messages_max, log_.options_.messages_per_poll);
  if (log_.options_.is_partial && messages_max > 1) {
    const int limit = static_cast<int>(std::min<std::size_t>(messages_max, 4));
    const int fewer = log_.gate_.scheduler().oracle().Choose("partial", limit, Cost::kFree);
    messages_max = fewer == 0 ? messages_max : static_cast<std::size_t>(fewer);
  }
  for (const int partition : order) {
    Fetch& fetch = owned_[partition];
    const auto& records = log_.partitions_[static_cast<std::size_t>(partition)].records;
    if (!fetch.position.has_value()) continue;
    auto it = records.lower_bound(*fetch.position);
    for (; it != records.end() && fields.size() < messages_max; ++it) {
      buffers->push_back({.topic = log_.options_.topic, .record = it->second});
      fields.push_back({.partition = partition,
                        .offset = it->first,
                        .timestamp_ms = it->second.timestamp_ms,
                        .assignment = fetch.assignment});
      fetch.position = it->first + 1;
    }
  }
  std::vector<Message> messages;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const Delivered& delivered = (*buffers)[i];
    fields[i].topic = delivered.topic;
    if (delivered.record.key.has_value()) fields[i].key = *delivered.record.key;
    if (delivered.record.value.has_value()) fields[i].value = *delivered.record.value;
    fields[i].header_reader = OwnedHeaderReader();
    fields[i].headers_object = &delivered.record.headers;
    messages.emplace_back(fields[i]);
  }
  return Batch(std::move(messages), std::move(buffers));
}

absl::StatusOr<Batch> FakeSource::Poll(const PollOptions& options, SourceListener& listener) {
  const Fault fault = log_.gate_.Pass(*process_, Seam::kPoll);
  if (process_->is_dead()) return Dead();
  if (is_closed_) return absl::FailedPreconditionError("fake log: the source is closed");
  if (fault == Fault::kFailure) return absl::FailedPreconditionError("fake log: fatal error");
  is_deaf_ = deaf_polls_ > 0;
  if (is_deaf_) --deaf_polls_;
  log_.ExpireSilent();
  if (FakeLog::Member* member = log_.FindMember(member_)) member->is_polling = true;
  absl::StatusOr<Batch> batch = PollMember(options, listener, fault);
  if (FakeLog::Member* member = log_.FindMember(member_)) {
    member->is_polling = false;
    member->last_poll = log_.gate_.scheduler().Now();
  }
  return batch;
}

absl::StatusOr<Batch> FakeSource::PollMember(const PollOptions& options, SourceListener& listener,
                                             Fault fault) {
  while (true) {
    while (Serve(listener)) {
      if (process_->is_dead()) return Dead();
    }
    ReportErrors(listener);
    if (process_->is_dead()) return Dead();
    Batch batch = Fill(options.messages_max);
    if (fault == Fault::kCrashAfter) {
      log_.gate_.Crash(*process_);
      return Dead();
    }
    const bool is_woken = std::exchange(is_woken_, false);
    if (!batch.empty() || is_woken) return batch;
    const bool is_changed = log_.changed_.WaitUntil(options.deadline);
    if (process_->is_dead()) return Dead();
    log_.ExpireSilent();
    if (!is_changed && log_.gate_.scheduler().Now() >= options.deadline) return Batch();
    if (!log_.gate_.scheduler().is_inside_fiber()) return Batch();
  }
}

void FakeSource::Wake() {
  is_woken_ = true;
  log_.Notify();
}

absl::Status FakeSource::Close(absl::Time /*deadline*/, SourceListener& listener) {
  const Fault fault = log_.gate_.Pass(*process_, Seam::kClose);
  if (process_->is_dead()) return Dead();
  if (std::exchange(is_closed_, true)) return absl::OkStatus();
  log_.ExpireSilent();
  const bool is_member = member_ != 0 && log_.FindMember(member_) != nullptr;
  Revoke(listener, OwnedPartitions(), is_member ? Revocation::kRevoked : Revocation::kLost);
  if (process_->is_dead()) return Dead();
  log_.Leave(member_);
  member_ = 0;
  if (fault == Fault::kCrashAfter) log_.gate_.Crash(*process_);
  return process_->is_dead() ? Dead() : absl::OkStatus();
}

absl::StatusOr<std::vector<PartitionBounds>> FakeSource::Describe(
    std::span<const TopicPartition> partitions) {
  const Fault fault = log_.gate_.Pass(*process_, Seam::kDescribe);
  if (process_->is_dead()) return Dead();
  bool has_failed_partition = false;
  if (fault == Fault::kFailure) {
    // The whole call, or the first partition only.
    has_failed_partition = log_.gate_.scheduler().oracle().Choose("describe", 2, Cost::kFree) == 1;
    if (!has_failed_partition) return Failed();
  }
  if (fault == Fault::kCrashAfter) log_.gate_.Crash(*process_);
  if (process_->is_dead()) return Dead();
  std::vector<PartitionBounds> bounds;
  for (const TopicPartition& partition : partitions) {
    if (!IsValid(partition)) {
      bounds.push_back({.status = absl::NotFoundError("fake log: no such partition")});
      continue;
    }
    if (std::exchange(has_failed_partition, false)) {
      bounds.push_back({.status = Failed()});
      continue;
    }
    const auto& log = log_.partitions_[static_cast<std::size_t>(partition.partition)];
    bounds.push_back({.first = log.first,
                      .end = log.end,
                      .committed = log.committed,
                      .committed_metadata = log.metadata});
  }
  return bounds;
}

absl::Status FakeSource::Start(std::span<const PartitionOffset> positions) {
  const Fault fault = log_.gate_.Pass(*process_, Seam::kStart);
  if (process_->is_dead()) return Dead();
  if (fault == Fault::kFailure) return Failed();
  for (const PartitionOffset& start : positions) {
    Fetch* fetch = Find(start.partition);
    if (fetch == nullptr) continue;
    fetch->position = start.offset;
    fetch->has_failed = false;
  }
  if (fault == Fault::kCrashAfter) log_.gate_.Crash(*process_);
  return process_->is_dead() ? Dead() : absl::OkStatus();
}

absl::Status FakeSource::Pause(std::span<const TopicPartition> partitions) {
  const Fault fault = log_.gate_.Pass(*process_, Seam::kPause);
  if (process_->is_dead()) return Dead();
  if (fault == Fault::kFailure) return Failed();
  for (const TopicPartition& partition : partitions) {
    if (Fetch* fetch = Find(partition)) fetch->position.reset();
  }
  if (fault == Fault::kCrashAfter) log_.gate_.Crash(*process_);
  return process_->is_dead() ? Dead() : absl::OkStatus();
}

absl::Status FakeSource::Commit(std::span<const PartitionOffset> positions, CommitMode mode) {
  const bool is_hint = mode == CommitMode::kHint;
  const Fault fault =
      log_.gate_.Pass(*process_, is_hint ? Seam::kCommitHint : Seam::kCommitVerified);
  if (process_->is_dead()) return Dead();
  log_.ExpireSilent();
  std::vector<PartitionOffset> mine;
  for (const PartitionOffset& position : positions) {
    if (Find(position.partition) != nullptr) mine.push_back(position);
  }
  if (fault == Fault::kFailure) return Failed();
  // The broker looks at member and generation only: not at who owns the partitions.
  const bool is_member = member_ != 0 && log_.FindMember(member_) != nullptr;
  const bool is_accepted = is_member && generation_ == log_.generation_;
  if (is_accepted && fault != Fault::kUnknownNotApplied) {
    for (const PartitionOffset& position : mine) {
      auto& log = log_.partitions_[static_cast<std::size_t>(position.partition.partition)];
      log.committed = position.offset;
      log.metadata = position.metadata;
      log_.observer_->OnAcknowledge(*process_, position.partition, position.offset);
    }
  }
  if (fault == Fault::kCrashAfter) log_.gate_.Crash(*process_);
  if (process_->is_dead()) return Dead();
  if (is_hint) return absl::OkStatus();
  if (fault == Fault::kUnknownApplied || fault == Fault::kUnknownNotApplied) {
    return absl::UnknownError("fake log: the answer was lost");
  }
  if (!is_accepted) {
    return absl::FailedPreconditionError("fake log: not a member of this generation");
  }
  if (mine.size() == positions.size()) return absl::OkStatus();
  return absl::FailedPreconditionError("fake log: a partition is no longer assigned");
}

std::optional<std::int64_t> FakeSource::Lag(const TopicPartition& partition) {
  const Fetch* fetch = Find(partition);
  if (fetch == nullptr || !fetch->position.has_value()) return std::nullopt;
  return log_.end(partition.partition) - *fetch->position;
}

}  // namespace once::testing
