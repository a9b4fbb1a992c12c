// The broker's log and the group's coordinator.
#include "once/testing/fake_log.h"

#include <algorithm>
#include <utility>

#include "src/testing/fake_source.h"

namespace once::testing {

FakeLog::FakeLog(SeamGate& gate, FakeLogOptions options, SimulationObserver* observer)
    : gate_(gate),
      options_(std::move(options)),
      observer_(observer == nullptr ? &silent_ : observer),
      partitions_(static_cast<std::size_t>(options_.partitions)),
      changed_(gate.scheduler()) {
  gate.set_on_expel([this](Process& process, bool is_deaf) { Expel(process, is_deaf); });
  gate.set_on_rebalance([this] { Rebalance(); });
}

std::unique_ptr<LogSource> FakeLog::Connect(std::shared_ptr<Process> process) {
  return Connect(std::move(process), options_.poll_interval_max);
}

std::unique_ptr<LogSource> FakeLog::Connect(std::shared_ptr<Process> process,
                                            absl::Duration poll_interval_max) {
  process->OnKill([this, dying = process.get()] { Expel(*dying); });
  return std::make_unique<FakeSource>(*this, std::move(process), poll_interval_max);
}

std::int64_t FakeLog::Append(int partition, LogRecord record) {
  Partition& log = partitions_[static_cast<std::size_t>(partition)];
  log.records.emplace(log.end, std::move(record));
  Notify();
  return log.end++;
}

void FakeLog::SkipOffset(int partition) { ++partitions_[static_cast<std::size_t>(partition)].end; }

void FakeLog::DeleteBefore(int partition, std::int64_t first) {
  Partition& log = partitions_[static_cast<std::size_t>(partition)];
  while (!log.records.empty() && log.records.begin()->first < first) {
    log.deleted.insert(log.records.extract(log.records.begin()));
  }
  log.first = first;
  Notify();
}

void FakeLog::Recreate() {
  for (Partition& log : partitions_) log = {};
  Notify();
}

void FakeLog::Truncate(int partition, std::int64_t end) {
  Partition& log = partitions_[static_cast<std::size_t>(partition)];
  log.records.erase(log.records.lower_bound(end), log.records.end());
  log.end = std::min(log.end, end);
  Notify();
}

void FakeLog::SetCommitted(int partition, std::int64_t offset, std::string metadata) {
  Partition& log = partitions_[static_cast<std::size_t>(partition)];
  log.committed = offset;
  log.metadata = std::move(metadata);
}

std::int64_t FakeLog::end(int partition) const {
  return partitions_[static_cast<std::size_t>(partition)].end;
}

const LogRecord* FakeLog::Find(int partition, std::int64_t offset) const {
  const auto& records = partitions_[static_cast<std::size_t>(partition)].records;
  const auto it = records.find(offset);
  return it == records.end() ? nullptr : &it->second;
}

const LogRecord* FakeLog::FindEver(int partition, std::int64_t offset) const {
  const auto& deleted = partitions_[static_cast<std::size_t>(partition)].deleted;
  const auto it = deleted.find(offset);
  return it == deleted.end() ? Find(partition, offset) : &it->second;
}

std::optional<std::int64_t> FakeLog::committed(int partition) const {
  return partitions_[static_cast<std::size_t>(partition)].committed;
}

PartitionKey FakeLog::KeyOf(int partition) const {
  return {.cluster = options_.cluster,
          .group = options_.group,
          .partition = {.topic = options_.topic, .partition = partition}};
}

void FakeLog::Expel(Process& process, bool is_deaf) {
  for (auto& [id, member] : members_) {
    if (&member.source->process() != &process) continue;
    if (is_deaf) member.source->MakeDeaf();
    Leave(id);
    return;
  }
}

void FakeLog::Rebalance() {
  ++rotation_;
  if (!members_.empty()) BeginRebalance();
}

FakeLog::Member* FakeLog::FindMember(std::uint64_t id) {
  const auto it = members_.find(id);
  return it == members_.end() ? nullptr : &it->second;
}

std::uint64_t FakeLog::Join(FakeSource& source) {
  const std::uint64_t id = ++last_member_;
  members_[id] = {.source = &source, .is_polling = true};
  if (!is_rebalancing_) BeginRebalance();
  members_[id].has_joined = true;
  TryComplete();
  return id;
}

void FakeLog::Leave(std::uint64_t member) {
  if (members_.erase(member) == 0) return;
  if (members_.empty()) {
    is_rebalancing_ = false;
  } else if (is_rebalancing_) {
    TryComplete();
  } else {
    BeginRebalance();
  }
  Notify();
}

void FakeLog::BeginRebalance() {
  is_rebalancing_ = true;
  for (auto& [id, member] : members_) member.has_joined = false;
  Notify();
}

void FakeLog::ExpireSilent() {
  const absl::Time now = gate_.scheduler().Now();
  std::vector<std::uint64_t> silent;
  for (const auto& [id, member] : members_) {
    const absl::Duration interval = member.source->traits().poll_interval_max;
    if (!member.is_polling && now - member.last_poll > interval) silent.push_back(id);
  }
  for (const std::uint64_t id : silent) Leave(id);
}

bool FakeLog::IsOwnedByAnother(int partition, std::uint64_t member) const {
  return std::any_of(members_.begin(), members_.end(), [&](const auto& other) {
    return other.first != member && other.second.source->OwnedPartitions().contains(partition);
  });
}

void FakeLog::TryComplete() {
  if (members_.empty()) return;
  for (const auto& [id, member] : members_) {
    if (!member.has_joined) return;
  }
  is_rebalancing_ = false;
  ++generation_;
  std::vector<std::uint64_t> ids;
  for (auto& [id, member] : members_) {
    ids.push_back(id);
    member.target.clear();
    member.assigned.clear();
    member.has_news = true;
    member.source->set_generation(generation_);
  }
  for (int partition = 0; partition < options_.partitions; ++partition) {
    const std::uint64_t owner = ids[(static_cast<std::size_t>(partition) + rotation_) % ids.size()];
    members_[owner].target.insert(partition);
    const bool is_free =
        options_.protocol == RebalanceProtocol::kEager || !IsOwnedByAnother(partition, owner);
    if (is_free) members_[owner].assigned.insert(partition);
  }
  Notify();
}

}  // namespace once::testing
