// Assignments come and go, on the polling thread, inside the client's rebalance callback.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "adapters/kafka/errors.h"
#include "adapters/kafka/log_source.h"
#include "once/abseil.h"

namespace once::kafka {
namespace {

constexpr int kClusterIdMilliseconds = 5000;

std::vector<TopicPartition> NamesIn(const rd_kafka_topic_partition_list_t& list) {
  std::vector<TopicPartition> names;
  names.reserve(static_cast<std::size_t>(list.cnt));
  for (int i = 0; i < list.cnt; ++i) {
    names.push_back({.topic = list.elems[i].topic, .partition = list.elems[i].partition});
  }
  return names;
}

absl::Status TakeStatus(rd_kafka_error_t* error, std::string_view operation) {
  if (error == nullptr) return absl::OkStatus();
  const Owned<rd_kafka_error_t> owned(error);
  return ToStatus(rd_kafka_error_code(error), operation, rd_kafka_error_string(error));
}

}  // namespace

Owned<rd_kafka_topic_partition_list_t> MakeList(std::span<const TopicPartition> partitions) {
  Owned<rd_kafka_topic_partition_list_t> list(
      rd_kafka_topic_partition_list_new(static_cast<int>(partitions.size())));
  for (const TopicPartition& partition : partitions) {
    rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(), partition.partition);
  }
  return list;
}

void KafkaLogSource::OnRebalance(rd_kafka_resp_err_t error,
                                 rd_kafka_topic_partition_list_t* partitions) {
  ++rebalances_;
  switch (error) {
    case RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS:
      OnAssign(partitions);
      return;
    case RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS:
      OnRevoke(partitions);
      return;
    default:
      client_->Log(LogLevel::kError, "rebalance", rd_kafka_err2str(error));
      rd_kafka_assign(client_->handle(), nullptr);
  }
}

absl::Status KafkaLogSource::TellAssign(rd_kafka_topic_partition_list_t* partitions) {
  if (is_cooperative_) {
    return TakeStatus(rd_kafka_incremental_assign(client_->handle(), partitions), "assigning");
  }
  return ToStatus(rd_kafka_assign(client_->handle(), partitions), "assigning");
}

absl::Status KafkaLogSource::TellUnassign(rd_kafka_topic_partition_list_t* partitions) {
  if (is_cooperative_) {
    return TakeStatus(rd_kafka_incremental_unassign(client_->handle(), partitions), "unassigning");
  }
  return ToStatus(rd_kafka_assign(client_->handle(), nullptr), "unassigning");
}

// The client gets nothing to fetch yet: AssignStarting() does that, at the first Start().
void KafkaLogSource::OnAssign(rd_kafka_topic_partition_list_t* partitions) {
  // Also an empty assignment must be answered: it ends the rebalance. A client that is closing
  // treats it as an unassignment.
  if (absl::Status status = TellAssign(MakeList({}).get()); !status.ok()) {
    Fail(std::move(status));
    return;
  }
  member_id_ = MemberId();
  if (is_closed_ || partitions->cnt == 0 || !LearnCluster()) return;
  listener_->OnAssigned(table_.Assign(NamesIn(*partitions)));
}

void KafkaLogSource::OnRevoke(rd_kafka_topic_partition_list_t* partitions) {
  const bool is_lost = !IsMember();
  std::vector<TopicPartition> ours;
  std::vector<TopicPartition> paused;
  std::vector<TopicPartition> told;
  for (TopicPartition& name : NamesIn(*partitions)) {
    const PartitionState* state = table_.Find(name);
    if (state != nullptr) ours.push_back(std::move(name));
  }
  if (!ours.empty()) {
    listener_->OnRevoked(ours, is_lost ? Revocation::kLost : Revocation::kRevoked);
  }
  for (const TopicPartition& name : ours) {
    const PartitionState& state = *table_.Find(name);
    if (state.client_has) told.push_back(name);
    if (state.client_has && state.client_paused) paused.push_back(name);
    table_.Remove(name);
  }
  // The client keeps the pause of a partition that it does not have any more.
  if (!paused.empty()) rd_kafka_resume_partitions(client_->handle(), MakeList(paused).get());
  if (absl::Status status = TellUnassign(MakeList(told).get()); !status.ok()) {
    Fail(std::move(status));
  }
}

std::string KafkaLogSource::MemberId() const {
  char* raw = rd_kafka_memberid(client_->handle());
  std::string id = raw == nullptr ? "" : raw;
  rd_kafka_mem_free(client_->handle(), raw);
  return id;
}

// False from the moment at which the client has left the group or was thrown out, which it notices
// in the background. Its own rd_kafka_assignment_lost() is not enough: assign calls reset it.
bool KafkaLogSource::IsMember() const {
  return rd_kafka_assignment_lost(client_->handle()) == 0 && !member_id_.empty() &&
         MemberId() == member_id_ && client_->FatalStatus().ok();
}

// The cluster's id names the rows of the store: without it nothing may be assigned.
bool KafkaLogSource::LearnCluster() {
  if (!traits_.cluster.empty()) return true;
  char* id = rd_kafka_clusterid(client_->handle(), kClusterIdMilliseconds);
  if (id == nullptr) {
    Fail(absl::UnavailableError("kafka: the brokers do not tell the id of their cluster"));
    return false;
  }
  traits_.cluster = id;
  rd_kafka_mem_free(client_->handle(), id);
  return true;
}

}  // namespace once::kafka
