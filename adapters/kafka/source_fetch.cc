// Poll: waits for a message, takes what is there, and delivers what still belongs to the position
// that the engine asked for.
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/errors.h"
#include "adapters/kafka/log_source.h"
#include "once/abseil.h"

namespace once::kafka {
namespace {

// A seek that the client refused, since it is still stopping or starting the partition, is repeated
// after this.
constexpr int kRetryMilliseconds = 10;
constexpr int kWaitMillisecondsMax = 60'000;

TopicPartition NameOf(const rd_kafka_message_t& message) {
  return {.topic = rd_kafka_topic_name(message.rkt), .partition = message.partition};
}

}  // namespace

absl::StatusOr<Batch> KafkaLogSource::Poll(const PollOptions& options, SourceListener& listener) {
  if (absl::Status status = CheckUsable(); !status.ok()) return status;
  listener_ = &listener;
  const absl::Cleanup done = [this] { listener_ = nullptr; };
  if (absl::Status status = Join(); !status.ok()) return status;

  Received received(client_, header_interest_, chunks_);
  while (true) {
    ApplyPositions();
    const bool is_woken = is_woken_.exchange(false);
    const int wait_ms = is_woken ? 0 : WaitMilliseconds(options.deadline);
    Fetch(std::max<std::size_t>(options.messages_max, 1), wait_ms, received);
    if (!failure_.ok()) return failure_;
    if (!received.empty() || is_woken || absl::Now() >= options.deadline) break;
  }
  // What callbacks asked for must not wait for the next poll.
  ApplyPositions();
  return std::move(received).ToBatch();
}

int KafkaLogSource::WaitMilliseconds(absl::Time deadline) const {
  const absl::Duration left = deadline - absl::Now();
  if (left <= absl::ZeroDuration()) return 0;
  int wait = kWaitMillisecondsMax;
  if (left < absl::Milliseconds(kWaitMillisecondsMax)) {
    wait = static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1))));
  }
  return table_.is_starting() ? std::min(wait, kRetryMilliseconds) : wait;
}

// rd_kafka_consume_batch_queue waits until the batch is full or the time is over: so the wait is
// for one message, and the rest is what is there already.
std::size_t KafkaLogSource::Take(std::size_t messages_max, int wait_ms) {
  taken_.resize(messages_max);
  const std::uint64_t rebalances = rebalances_;
  ssize_t count = rd_kafka_consume_batch_queue(queue_.get(), wait_ms, taken_.data(), 1);
  if (count == 1 && messages_max > 1 && rebalances == rebalances_) {
    count += std::max<ssize_t>(
        0, rd_kafka_consume_batch_queue(queue_.get(), 0, taken_.data() + 1, messages_max - 1));
  }
  return static_cast<std::size_t>(std::max<ssize_t>(count, 0));
}

void KafkaLogSource::Fetch(std::size_t messages_max, int wait_ms, Received& received) {
  const std::uint64_t tick = table_.tick();
  const std::uint64_t rebalances = rebalances_;
  const std::size_t count = Take(messages_max, wait_ms);
  // A rebalance in the middle pauses every partition inside the client, which takes back messages
  // that this very call had counted as consumed. So nothing of the call is delivered, and every
  // partition begins again where we know it was.
  const bool is_disturbed = rebalances != rebalances_;
  received.Reserve(count);
  run_ = {};
  for (std::size_t i = 0; i < count; ++i) {
    rd_kafka_message_t* message = taken_[i];
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      HandleError(*message);
    } else if (!is_disturbed && Accept(*message, tick, received)) {
      continue;
    }
    rd_kafka_message_destroy(message);
  }
  if (is_disturbed) table_.RestartRunning();
}

// True when `message` now belongs to `received`. Messages come in runs of one partition.
bool KafkaLogSource::Accept(const rd_kafka_message_t& message, std::uint64_t tick,
                            Received& received) {
  if (message.rkt != run_.topic || message.partition != run_.partition) {
    run_ = {.topic = message.rkt,
            .partition = message.partition,
            .state = table_.Find(rd_kafka_topic_name(message.rkt), message.partition)};
  }
  PartitionState* const state = run_.state;
  if (state == nullptr || state->phase != Phase::kRunning || state->changed > tick) return false;
  if (message.offset < state->position) return false;
  state->position = message.offset + 1;
  received.Add(const_cast<rd_kafka_message_t*>(&message), state->assignment);
  return true;
}

void KafkaLogSource::HandleError(const rd_kafka_message_t& message) {
  const rd_kafka_resp_err_t error = message.err;
  const char* detail = rd_kafka_message_errstr(&message);
  if (error == RD_KAFKA_RESP_ERR__FATAL) {
    Fail(client_->FatalStatus());
    return;
  }
  if (IsRefusal(error) || error == RD_KAFKA_RESP_ERR_INVALID_GROUP_ID ||
      error == RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT ||
      error == RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL) {
    Fail(ToStatus(error, "consuming", detail));
    return;
  }
  PartitionState* state = message.rkt == nullptr
                              ? nullptr
                              : table_.Find(rd_kafka_topic_name(message.rkt), message.partition);
  if (state != nullptr) {
    HandlePartitionError(message, *state);
    return;
  }
  client_->Log(LogLevel::kWarning, "consumer_error",
               absl::StrCat(rd_kafka_err2name(error), ": ", detail == nullptr ? "" : detail));
}

void KafkaLogSource::HandlePartitionError(const rd_kafka_message_t& message,
                                          PartitionState& state) {
  const TopicPartition name = NameOf(message);
  const std::string detail = rd_kafka_message_errstr(&message);
  const std::string where = absl::StrCat("kafka: ", ToString(name), ": ", detail);
  const std::string reason_out_of_range = rd_kafka_err2str(RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE);
  switch (message.err) {
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
      // The client has stopped fetching, for good.
      state.fetcher_stopped = true;
      if (state.phase != Phase::kRunning) return;
      if (message.offset != state.position || !absl::StrContains(detail, reason_out_of_range)) {
        // About an offset from before the last Start, or no gap at all: ask again.
        client_->Log(LogLevel::kWarning, "restart", where);
        table_.Start(state, state.position);
        return;
      }
      table_.Idle(state);
      listener_->OnPartitionError(
          name, absl::OutOfRangeError(absl::StrCat(where, " (position ", state.position, ")")));
      return;
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
      table_.Idle(state);
      listener_->OnPartitionError(name, absl::DataLossError(where));
      return;
    default:
      client_->Log(LogLevel::kWarning, "partition_error", where);
  }
}

void KafkaLogSource::OnError(rd_kafka_resp_err_t error, std::string_view text) {
  if (error == RD_KAFKA_RESP_ERR__FATAL) {
    Fail(client_->FatalStatus());
    return;
  }
  if (IsRefusal(error)) {
    Fail(ToStatus(error, "connecting", text));
    return;
  }
  // Brokers that are down, names that do not resolve: the client goes on trying.
  client_->Log(LogLevel::kWarning, "client_error",
               absl::StrCat(rd_kafka_err2name(error), ": ", ToAbsl(text)));
}

}  // namespace once::kafka
