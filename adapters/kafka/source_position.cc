// Start and Pause. Both record what is wanted; the next Poll tells the client before it takes
// anything, for all partitions at once.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/errors.h"
#include "adapters/kafka/log_source.h"
#include "once/abseil.h"

namespace once::kafka {
namespace {

// How long a new assignment of partitions that were being fetched is waited for. It takes some
// microseconds, unless commits are under way.
constexpr absl::Duration kSettleTime = absl::Seconds(2);

// After so many refusals, ten milliseconds apart, the fetcher is started anew.
constexpr int kRefusedStartsMax = 300;

// 2.0.2 and 2.1 take the milliseconds for microseconds. A seek never leaves the client, so the
// bound is only for a client that is dying.
int SeekTimeout() {
  constexpr int kMilliseconds = 2000;
  return rd_kafka_version() < 0x02020000 ? kMilliseconds * 1000 : kMilliseconds;
}

}  // namespace

absl::Status KafkaLogSource::Start(std::span<const PartitionOffset> positions) {
  if (absl::Status status = CheckUsable(); !status.ok()) return status;
  for (const PartitionOffset& position : positions) {
    if (position.offset < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "kafka: start of ", ToString(position.partition), " at offset ", position.offset));
    }
  }
  for (const PartitionOffset& position : positions) {
    PartitionState* state = table_.Find(position.partition);
    if (state != nullptr) table_.Start(*state, position.offset);
  }
  return absl::OkStatus();
}

absl::Status KafkaLogSource::Pause(std::span<const TopicPartition> partitions) {
  if (absl::Status status = CheckUsable(); !status.ok()) return status;
  for (const TopicPartition& partition : partitions) {
    PartitionState* state = table_.Find(partition);
    if (state != nullptr) table_.Idle(*state);
  }
  return absl::OkStatus();
}

void KafkaLogSource::ApplyPositions() {
  ApplyPauses();
  if (!table_.is_starting()) return;
  // What was lost in the background must not be assigned again: that would make the client forget
  // that it is lost. The revocation is on its way.
  if (rd_kafka_assignment_lost(client_->handle()) != 0) return;
  AssignStarting();
  SeekStarting();
}

void KafkaLogSource::ApplyPauses() {
  std::vector<TopicPartition> names;
  for (auto& [name, state] : table_.partitions()) {
    if (state.phase != Phase::kIdle || !state.client_has || state.client_paused) continue;
    state.client_paused = true;
    names.push_back(name);
  }
  if (!names.empty()) rd_kafka_pause_partitions(client_->handle(), MakeList(names).get());
}

// Tells the client of partitions that it does not have yet, or whose fetcher gave up (it does so
// after an offset out of range, and then refuses to seek). Under the eager protocol an assign call
// names all partitions, so all begin again, where they are, and paused ones are taken away.
void KafkaLogSource::AssignStarting() {
  const auto is_new = [](const PartitionState& state) {
    return state.phase == Phase::kStarting && (!state.client_has || state.fetcher_stopped);
  };
  const bool is_needed = std::any_of(table_.partitions().begin(), table_.partitions().end(),
                                     [&](const auto& entry) { return is_new(entry.second); });
  if (!is_needed) return;
  if (!is_cooperative_) table_.RestartRunning();
  bool has_removed = false;
  absl::Status status = UnassignStopped(has_removed);
  const Owned<rd_kafka_topic_partition_list_t> list = MakeList({});
  for (auto& [name, state] : table_.partitions()) {
    if (state.phase != Phase::kStarting || (is_cooperative_ && !is_new(state))) continue;
    rd_kafka_topic_partition_list_add(list.get(), name.topic.c_str(), name.partition)->offset =
        state.position;
    state.client_has = true;
    state.fetcher_stopped = false;
    if (!has_removed) state.phase = Phase::kRunning;
  }
  status.Update(TellAssign(list.get()));
  if (!status.ok()) {
    Fail(std::move(status));
  } else if (has_removed) {
    Settle();
  }
}

// A partition that is taken away while the client still stops its former fetch is stopped twice,
// and then the client aborts the process (2.0.2). A seek succeeds only after the stop.
void KafkaLogSource::Settle() {
  const absl::Time deadline = absl::Now() + kSettleTime;
  SeekStarting();
  while (table_.is_starting() && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(1));
    SeekStarting();
  }
}

// Makes room for AssignStarting(): resumes what the client had paused, since it keeps the pause,
// and takes back what it is to be told again.
absl::Status KafkaLogSource::UnassignStopped(bool& has_removed) {
  std::vector<TopicPartition> paused;
  std::vector<TopicPartition> stopped;
  for (auto& [name, state] : table_.partitions()) {
    if (!state.client_has || (is_cooperative_ && !state.fetcher_stopped)) continue;
    if (state.client_paused) paused.push_back(name);
    state.client_paused = false;
    state.client_has = false;
    stopped.push_back(name);
  }
  has_removed = !stopped.empty();
  if (!paused.empty()) rd_kafka_resume_partitions(client_->handle(), MakeList(paused).get());
  if (!is_cooperative_ || stopped.empty()) return absl::OkStatus();
  return TellUnassign(MakeList(stopped).get());
}

// Resume first, seek last: the seek's version barrier voids whatever was fetched before it, also
// between the two.
void KafkaLogSource::SeekStarting() {
  std::vector<TopicPartition> paused;
  const Owned<rd_kafka_topic_partition_list_t> targets = MakeList({});
  for (auto& [name, state] : table_.partitions()) {
    if (state.phase != Phase::kStarting) continue;
    if (state.client_paused) paused.push_back(name);
    state.client_paused = false;
    rd_kafka_topic_partition_list_add(targets.get(), name.topic.c_str(), name.partition)->offset =
        state.position;
  }
  if (targets->cnt == 0) return;
  if (!paused.empty()) rd_kafka_resume_partitions(client_->handle(), MakeList(paused).get());
  Seek(targets.get());
}

void KafkaLogSource::Seek(rd_kafka_topic_partition_list_t* targets) {
  const Owned<rd_kafka_error_t> error(
      rd_kafka_seek_partitions(client_->handle(), targets, SeekTimeout()));
  for (int i = 0; i < targets->cnt; ++i) {
    const rd_kafka_topic_partition_t& target = targets->elems[i];
    PartitionState& state = *table_.Find(target.topic, target.partition);
    if (target.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      state.phase = Phase::kRunning;
      continue;
    }
    // Still being started or stopped inside the client: the next poll tries again.
    if (++state.refused_starts < kRefusedStartsMax) continue;
    client_->Log(LogLevel::kWarning, "restart",
                 absl::StrCat(target.topic, "[", target.partition,
                              "]: the client refuses to seek: ", rd_kafka_err2str(target.err)));
    state.refused_starts = 0;
    state.fetcher_stopped = true;
  }
}

}  // namespace once::kafka
