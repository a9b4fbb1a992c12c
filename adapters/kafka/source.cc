// Options of a source, and its life from Subscribe to Close.
#include "once/kafka/source.h"

#include <array>
#include <cassert>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "adapters/kafka/errors.h"
#include "adapters/kafka/log_source.h"
#include "adapters/kafka/settings.h"
#include "once/abseil.h"

namespace once::kafka {
namespace {

constexpr absl::Duration kDestroyTime = absl::Seconds(5);

constexpr std::string_view kOwnPositions =
    "the consumer decides what is acknowledged, and when; nothing may commit behind its back";

constexpr std::array kFixed = {
    FixedProperty{"bootstrap.servers", "use .brokers"},
    FixedProperty{"metadata.broker.list", "use .brokers"},
    FixedProperty{"group.id", "use .group"},
    FixedProperty{"group.instance.id", "use .instance_id"},
    FixedProperty{"partition.assignment.strategy", "use .assignment"},
    FixedProperty{"session.timeout.ms", "use .session_timeout"},
    FixedProperty{"max.poll.interval.ms", "use .poll_interval_max"},
    FixedProperty{"group.protocol", "only the classic protocol is supported; use .assignment"},
    FixedProperty{"group.remote.assignor", "only the classic protocol is supported"},
    FixedProperty{"enable.auto.commit", kOwnPositions},
    FixedProperty{"auto.commit.enable", kOwnPositions},
    FixedProperty{"auto.commit.interval.ms", kOwnPositions},
    FixedProperty{"enable.auto.offset.store", kOwnPositions},
    FixedProperty{"offset.store.method", kOwnPositions},
    FixedProperty{"auto.offset.reset",
                  "an offset out of range must be seen; use ConsumerOptions::start and "
                  "::out_of_range"},
    FixedProperty{"enable.partition.eof", "the end of a partition is no event here"},
    FixedProperty{"log.queue", "use .log"},
};

absl::Status Validate(const SourceOptions& options) {
  absl::Status status = RequireText("brokers", options.brokers);
  status.Update(RequireText("group", options.group));
  if (options.topics.empty()) {
    status.Update(absl::InvalidArgumentError("kafka: .topics is empty"));
  }
  for (const std::string& topic : options.topics) status.Update(RequireText("topics", topic));
  status.Update(RequireDuration("session_timeout", options.session_timeout));
  status.Update(RequireDuration("poll_interval_max", options.poll_interval_max));
  if (options.poll_interval_max < options.session_timeout) {
    status.Update(absl::InvalidArgumentError(absl::StrCat(
        "kafka: .poll_interval_max (", absl::FormatDuration(options.poll_interval_max),
        ") is less than .session_timeout (", absl::FormatDuration(options.session_timeout), ")")));
  }
  return status;
}

// README.md gives the reason for every value.
void Apply(const SourceOptions& options, Settings& settings) {
  const bool is_cooperative = options.assignment == AssignmentStrategy::kCooperative;
  settings.Set("queued.min.messages", "400000");
  settings.Set("queued.max.messages.kbytes", "65536");
  settings.Set("fetch.wait.max.ms", "100");
  settings.SetIfKnown("fetch.queue.backoff.ms", "10");
  settings.Set("heartbeat.interval.ms", std::min(absl::Seconds(3), options.session_timeout / 3));
  settings.SetProperties(options.properties, kFixed);
  settings.Set("bootstrap.servers", options.brokers);
  settings.Set("group.id", options.group);
  settings.Set("partition.assignment.strategy", is_cooperative ? "cooperative-sticky" : "range");
  if (!options.instance_id.empty()) settings.Set("group.instance.id", options.instance_id);
  settings.Set("session.timeout.ms", options.session_timeout);
  settings.Set("max.poll.interval.ms", options.poll_interval_max);
  settings.Set("enable.auto.commit", "false");
  settings.Set("enable.auto.offset.store", "false");
  settings.Set("auto.offset.reset", "error");
  settings.Set("enable.partition.eof", "false");
}

}  // namespace

absl::StatusOr<std::unique_ptr<LogSource>> Subscribe(const SourceOptions& options) {
  absl::Status status = Validate(options);
  if (!status.ok()) return status;
  Settings settings;
  Apply(options, settings);
  if (!settings.status().ok()) return settings.status();
  absl::StatusOr<std::shared_ptr<Client>> client =
      Client::Create(RD_KAFKA_CONSUMER, settings, options.log);
  if (!client.ok()) return client.status();
  return std::make_unique<KafkaLogSource>(*std::move(client), options);
}

KafkaLogSource::KafkaLogSource(std::shared_ptr<Client> client, const SourceOptions& options)
    : client_(std::move(client)),
      topics_(options.topics),
      is_cooperative_(options.assignment == AssignmentStrategy::kCooperative) {
  traits_ = {.name = "kafka",
             .cluster = "",
             .group = options.group,
             .can_replay = true,
             .poll_interval_max = options.poll_interval_max};
  client_->set_listener(this);
  // Errors and commit results arrive with the messages, in Poll().
  rd_kafka_poll_set_consumer(client_->handle());
  queue_.reset(rd_kafka_queue_get_consumer(client_->handle()));
}

// A consumer that is destroyed while a rebalance waits for its answer never ends (2.0.2). So the
// group is left first; a client that cannot do even that is given up.
KafkaLogSource::~KafkaLogSource() {
  if (is_joined_ && client_->FatalStatus().ok()) {
    table_.Clear();
    is_closed_ = true;
    LeaveGroup(absl::Now() + kDestroyTime);
    if (rd_kafka_consumer_closed(client_->handle()) == 0 || AbortsWhenDestroyed()) {
      client_->Log(LogLevel::kError, "abandoned",
                   "the client cannot be destroyed; its threads stay until the process ends");
      Client::Abandon(client_);
    }
  }
  client_->set_listener(nullptr);
}

// librdkafka#4312, mended in 2.3: the cooperative assignor asserts that it was used once.
bool KafkaLogSource::AbortsWhenDestroyed() const {
  return is_cooperative_ && member_id_.empty() && rd_kafka_version() < 0x02030000;
}

void KafkaLogSource::CheckThread() {
  if (polling_thread_ == std::thread::id()) polling_thread_ = std::this_thread::get_id();
  assert(polling_thread_ == std::this_thread::get_id());
}

absl::Status KafkaLogSource::CheckUsable() {
  CheckThread();
  if (is_closed_) return absl::FailedPreconditionError("kafka: the source is closed");
  return failure_;
}

absl::Status KafkaLogSource::Join() {
  if (is_joined_) return absl::OkStatus();
  Owned<rd_kafka_topic_partition_list_t> topics(
      rd_kafka_topic_partition_list_new(static_cast<int>(topics_.size())));
  for (const std::string& topic : topics_) {
    rd_kafka_topic_partition_list_add(topics.get(), topic.c_str(), RD_KAFKA_PARTITION_UA);
  }
  const rd_kafka_resp_err_t error = rd_kafka_subscribe(client_->handle(), topics.get());
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return ToStatus(error, absl::StrCat("subscribing to ", absl::StrJoin(topics_, ", ")));
  }
  is_joined_ = true;
  return absl::OkStatus();
}

void KafkaLogSource::Wake() {
  is_woken_.store(true);
  rd_kafka_queue_yield(queue_.get());
}

absl::Status KafkaLogSource::Close(absl::Time deadline, SourceListener& listener) {
  CheckThread();
  if (is_closed_) return absl::OkStatus();
  listener_ = &listener;
  const absl::Cleanup done = [this] { listener_ = nullptr; };
  if (!table_.empty()) {
    listener.OnRevoked(table_.names(), IsMember() ? Revocation::kRevoked : Revocation::kLost);
    table_.Clear();
  }
  is_closed_ = true;
  if (!is_joined_ || !client_->FatalStatus().ok()) return absl::OkStatus();
  LeaveGroup(deadline);
  if (rd_kafka_consumer_closed(client_->handle()) != 0) return absl::OkStatus();
  return absl::DeadlineExceededError(
      "kafka: the group was not left in time; the broker will notice by the session timeout");
}

// Not rd_kafka_consumer_close(): it has no deadline. May be called again.
void KafkaLogSource::LeaveGroup(absl::Time deadline) {
  rd_kafka_t* handle = client_->handle();
  if (leaving_ == nullptr) {
    leaving_.reset(rd_kafka_queue_new(handle));
    const Owned<rd_kafka_error_t> error(rd_kafka_consumer_close_queue(handle, leaving_.get()));
    if (error != nullptr) {
      client_->Log(LogLevel::kWarning, "close", rd_kafka_error_string(error.get()));
    }
  }
  std::array<rd_kafka_message_t*, 64> rest{};
  while (rd_kafka_consumer_closed(handle) == 0 && absl::Now() < deadline) {
    const ssize_t count =
        rd_kafka_consume_batch_queue(leaving_.get(), 20, rest.data(), rest.size());
    for (ssize_t i = 0; i < count; ++i) {
      rd_kafka_message_destroy(rest[static_cast<std::size_t>(i)]);
    }
  }
}

}  // namespace once::kafka
