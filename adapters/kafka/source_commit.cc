// What the broker knows of partitions, and telling it how far we are.
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

constexpr absl::Duration kQuestionTime = absl::Seconds(2);
constexpr absl::Duration kSingleQuestionTime = absl::Milliseconds(250);
constexpr absl::Duration kSingleQuestionsTime = absl::Seconds(2);
constexpr absl::Duration kCommitTimeout = absl::Seconds(5);

// The request may have reached the coordinator, and no answer came back.
bool MayHaveArrived(rd_kafka_resp_err_t error) {
  return error == RD_KAFKA_RESP_ERR__TRANSPORT || error == RD_KAFKA_RESP_ERR__TIMED_OUT ||
         error == RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT;
}

struct CommitReply {
  bool has_arrived = false;
  rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
};

rd_kafka_resp_err_t FirstErrorCode(rd_kafka_resp_err_t error,
                                   const rd_kafka_topic_partition_list_t* list) {
  for (int i = 0; list != nullptr && error == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; ++i) {
    error = list->elems[i].err;
  }
  return error;
}

// The answer for one partition in `list`, when the question as a whole was answered with `error`.
absl::StatusOr<const rd_kafka_topic_partition_t*> AnswerFor(
    const TopicPartition& partition, const rd_kafka_topic_partition_list_t& list,
    rd_kafka_resp_err_t error, std::string_view question) {
  const rd_kafka_topic_partition_t* entry =
      rd_kafka_topic_partition_list_find(&list, partition.topic.c_str(), partition.partition);
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) error = entry->err;
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return entry;
  return ToStatus(error, absl::StrCat(ToAbsl(question), " of ", ToString(partition)));
}

// `which` is RD_KAFKA_OFFSET_BEGINNING or _END: the ListOffsets request takes them for timestamps,
// and answers for all partitions at once. Answers go to `field` of `bounds`.
rd_kafka_resp_err_t AskOffsets(rd_kafka_t* handle, std::span<const TopicPartition> partitions,
                               std::int64_t which, absl::Duration wait,
                               std::int64_t PartitionBounds::*field,
                               std::span<PartitionBounds> bounds) {
  const Owned<rd_kafka_topic_partition_list_t> list = MakeList(partitions);
  for (int i = 0; i < list->cnt; ++i) list->elems[i].offset = which;
  const rd_kafka_resp_err_t error = rd_kafka_offsets_for_times(
      handle, list.get(), static_cast<int>(absl::ToInt64Milliseconds(wait)));
  for (std::size_t i = 0; i < partitions.size(); ++i) {
    const auto answer = AnswerFor(partitions[i], *list, error, "asking for the bounds");
    bounds[i].status.Update(answer.status());
    if (answer.ok()) bounds[i].*field = (*answer)->offset;
  }
  return error;
}

// One partition without a leader fails the question for all: then each is asked for by itself.
void AskBounds(rd_kafka_t* handle, std::span<const TopicPartition> partitions,
               std::span<PartitionBounds> bounds) {
  absl::Duration wait = kQuestionTime;
  const auto ask = [&](std::size_t first, std::size_t count) {
    const auto names = partitions.subspan(first, count);
    const auto answers = bounds.subspan(first, count);
    for (PartitionBounds& answer : answers) answer = {};
    rd_kafka_resp_err_t error = AskOffsets(handle, names, RD_KAFKA_OFFSET_BEGINNING, wait,
                                           &PartitionBounds::first, answers);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
      error = AskOffsets(handle, names, RD_KAFKA_OFFSET_END, wait, &PartitionBounds::end, answers);
    }
    return error == RD_KAFKA_RESP_ERR_NO_ERROR;
  };
  if (ask(0, partitions.size()) || partitions.size() == 1) return;
  wait = kSingleQuestionTime;
  const absl::Time deadline = absl::Now() + kSingleQuestionsTime;
  for (std::size_t i = 0; i < partitions.size() && absl::Now() < deadline; ++i) ask(i, 1);
}

void AskCommitted(rd_kafka_t* handle, std::span<const TopicPartition> partitions,
                  std::span<PartitionBounds> bounds) {
  const Owned<rd_kafka_topic_partition_list_t> list = MakeList(partitions);
  const rd_kafka_resp_err_t error = rd_kafka_committed(
      handle, list.get(), static_cast<int>(absl::ToInt64Milliseconds(kQuestionTime)));
  for (std::size_t i = 0; i < partitions.size(); ++i) {
    const auto answer = AnswerFor(partitions[i], *list, error, "asking for the committed offset");
    bounds[i].status.Update(answer.status());
    if (!answer.ok() || (*answer)->offset < 0) continue;  // none
    bounds[i].committed = (*answer)->offset;
    if ((*answer)->metadata == nullptr) continue;
    bounds[i].committed_metadata.assign(static_cast<const char*>((*answer)->metadata),
                                        (*answer)->metadata_size);
  }
}

}  // namespace

absl::StatusOr<std::vector<PartitionBounds>> KafkaLogSource::Describe(
    std::span<const TopicPartition> partitions) {
  if (absl::Status status = CheckUsable(); !status.ok()) return status;
  std::vector<PartitionBounds> bounds(partitions.size());
  if (partitions.empty()) return bounds;
  AskBounds(client_->handle(), partitions, bounds);
  AskCommitted(client_->handle(), partitions, bounds);
  return bounds;
}

absl::Status KafkaLogSource::Commit(std::span<const PartitionOffset> positions, CommitMode mode) {
  if (absl::Status status = CheckUsable(); !status.ok()) return status;
  std::vector<TopicPartition> foreign;
  const Owned<rd_kafka_topic_partition_list_t> offsets = MakeList({});
  // The broker checks member and generation, not who owns a partition: that check is ours.
  const bool is_member = IsMember();
  for (const PartitionOffset& position : positions) {
    if (!is_member || table_.Find(position.partition) == nullptr) {
      foreign.push_back(position.partition);
      continue;
    }
    rd_kafka_topic_partition_t* entry = rd_kafka_topic_partition_list_add(
        offsets.get(), position.partition.topic.c_str(), position.partition.partition);
    entry->offset = position.offset;
    if (position.metadata.empty()) continue;
    entry->metadata_size = position.metadata.size();
    entry->metadata = rd_kafka_mem_malloc(client_->handle(), position.metadata.size());
    position.metadata.copy(static_cast<char*>(entry->metadata), position.metadata.size());
  }
  if (mode == CommitMode::kHint) {
    if (offsets->cnt == 0) return absl::OkStatus();
    return ToStatus(rd_kafka_commit(client_->handle(), offsets.get(), /*async=*/1), "committing");
  }
  absl::Status status = offsets->cnt == 0 ? absl::OkStatus() : CommitAndWait(offsets.get());
  if (!foreign.empty()) {
    status.Update(absl::FailedPreconditionError(
        absl::StrCat("kafka: committing: ", ToString(foreign.front()), " and ", foreign.size() - 1,
                     " others are not assigned to this member")));
  }
  return status;
}

// rd_kafka_commit would wait for ever while the coordinator is away.
absl::Status KafkaLogSource::CommitAndWait(const rd_kafka_topic_partition_list_t* offsets) {
  rd_kafka_t* handle = client_->handle();
  CommitReply reply;
  const Owned<rd_kafka_queue_t> replies(rd_kafka_queue_new(handle));
  const rd_kafka_resp_err_t refused = rd_kafka_commit_queue(
      handle, offsets, replies.get(),
      +[](rd_kafka_t*, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t* list,
          void* opaque) {
        *static_cast<CommitReply*>(opaque) = {.has_arrived = true,
                                              .error = FirstErrorCode(error, list)};
      },
      &reply);
  if (refused != RD_KAFKA_RESP_ERR_NO_ERROR) return ToStatus(refused, "committing");
  const absl::Time deadline = absl::Now() + kCommitTimeout;
  while (!reply.has_arrived && absl::Now() < deadline) {
    rd_kafka_queue_poll_callback(replies.get(), 100);
  }
  if (!reply.has_arrived) {
    return absl::UnknownError("kafka: committing: no answer from the group's coordinator");
  }
  // A member that has just left commits without a generation, which a group that has become empty
  // accepts: then the answer proves nothing.
  if (!IsMember()) {
    return absl::FailedPreconditionError("kafka: committing: the assignment is lost");
  }
  if (MayHaveArrived(reply.error)) {
    return absl::UnknownError(absl::StrCat("kafka: committing: ", rd_kafka_err2str(reply.error)));
  }
  return ToStatus(reply.error, "committing");
}

void KafkaLogSource::OnCommitted(rd_kafka_resp_err_t error,
                                 const rd_kafka_topic_partition_list_t* offsets) {
  const rd_kafka_resp_err_t first = FirstErrorCode(error, offsets);
  if (first == RD_KAFKA_RESP_ERR_NO_ERROR || first == RD_KAFKA_RESP_ERR__NO_OFFSET) return;
  client_->Log(LogLevel::kWarning, "commit_failed",
               absl::StrCat("a commit of offsets failed, the next one makes it good: ",
                            rd_kafka_err2str(first)));
}

// By what the last fetch has said of the end of the log.
std::optional<std::int64_t> KafkaLogSource::Lag(const TopicPartition& partition) {
  CheckThread();
  const PartitionState* state = table_.Find(partition);
  if (state == nullptr || state->phase == Phase::kIdle) return std::nullopt;
  std::int64_t low = RD_KAFKA_OFFSET_INVALID;
  std::int64_t high = RD_KAFKA_OFFSET_INVALID;
  const rd_kafka_resp_err_t error = rd_kafka_get_watermark_offsets(
      client_->handle(), partition.topic.c_str(), partition.partition, &low, &high);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR || high < 0) return std::nullopt;
  return std::max<std::int64_t>(high - state->position, 0);
}

}  // namespace once::kafka
