// The client's queue, its reports, its end.
#include "once/kafka/record_client.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/errors.h"
#include "adapters/kafka/kafka_record_client.h"
#include "adapters/kafka/produce.h"
#include "adapters/kafka/settings.h"
#include "adapters/kafka/topics.h"
#include "once/abseil.h"
#include "once/sequence.h"

namespace once::kafka {
namespace {

// Topics may get more partitions: what was heard longer ago is asked again.
constexpr absl::Duration kCountsAge = absl::Minutes(5);
// A topic that is missing is looked for again after this.
constexpr absl::Duration kMissingAge = absl::Seconds(5);
constexpr std::size_t kMissingMax = 1000;
// Once so many reports are read they are told: more of them would leave the processor's caches
// before they are looked at again.
constexpr std::size_t kReportsTogetherMax = 1000;
// What has been reported and is not yet freed is at most this part of the records that the client's
// queue takes, and this part of the bytes.
constexpr std::size_t kSpentShare = 2;
constexpr std::size_t kSpentBytesShare = 8;
// Lists of headers that wait to be filled again, with what they held.
constexpr std::size_t kSpentHeadersMax = 20'000;
constexpr absl::Duration kDropTime = absl::Seconds(1);
// A wait of Poll() ends after this, so that a client that has broken meanwhile is noticed.
constexpr absl::Duration kServeTime = absl::Milliseconds(500);

absl::Status Validate(const RecordClientSettings& settings, const RecordClientOptions& options) {
  absl::Status status = RequireText("brokers", settings.brokers);
  const bool is_infinite = options.delivery_timeout == absl::InfiniteDuration();
  if (!is_infinite) {
    status.Update(RequireDuration("delivery_timeout", options.delivery_timeout));
  }
  if (settings.linger < absl::ZeroDuration() || settings.linger >= options.delivery_timeout) {
    status.Update(absl::InvalidArgumentError(
        "kafka: .linger must be at least 0 and less than .delivery_timeout"));
  }
  if (settings.queue_records_max < 1 || settings.queue_bytes_max < 1024) {
    status.Update(absl::InvalidArgumentError(
        "kafka: .queue_records_max must be at least 1, .queue_bytes_max at least 1024"));
  }
  if (options.has_no_gaps && !is_infinite) {
    status.Update(absl::InvalidArgumentError(
        "kafka: .has_no_gaps needs an infinite .delivery_timeout: give up with Purge()"));
  }
  return status;
}

// Whether a record was copied travels with its cookie, in the bit that no address has.
constexpr std::uintptr_t kCopiedBit = 1;

void* OpaqueOf(void* cookie, bool is_copied) {
  return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(cookie) |
                                 (is_copied ? kCopiedBit : 0));
}
void* CookieOf(void* opaque) {
  return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(opaque) & ~kCopiedBit);
}
bool IsCopied(void* opaque) { return (reinterpret_cast<std::uintptr_t>(opaque) & kCopiedBit) != 0; }

std::optional<std::string> BytesOf(const void* bytes, std::size_t size) {
  if (bytes == nullptr) return std::nullopt;
  return std::string(static_cast<const char*>(bytes), size);
}

void ForEachHeader(
    const rd_kafka_message_t& record,
    absl::FunctionRef<void(std::string_view name, const void* value, std::size_t size)> see) {
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&record, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return;
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  for (std::size_t i = 0;
       rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
       ++i) {
    see(name, value, size);
  }
}

std::size_t CountHeaderBytes(const rd_kafka_message_t& record) {
  std::size_t bytes = 0;
  ForEachHeader(record, [&bytes](std::string_view name, const void*, std::size_t size) {
    bytes += name.size() + size;
  });
  return bytes;
}

// librdkafka gives names back as they end at the first zero.
absl::Status ValidateCopied(const OutgoingRecord& record) {
  if (IsCopied(record.cookie)) {
    return absl::InvalidArgumentError(
        "kafka: OutgoingRecord::cookie is no aligned address, its lowest bit is set");
  }
  for (const OwnedHeader& header : record.message.headers) {
    if (header.name.find('\0') == std::string::npos) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("kafka: the header ", header.name.c_str(), "… has a zero byte in its name"));
  }
  return absl::OkStatus();
}

// As it was given to the client, but for the stamp.
OutgoingMessage MessageOf(const rd_kafka_message_t& record) {
  OutgoingMessage message{.topic = rd_kafka_topic_name(record.rkt),
                          .partition = std::nullopt,
                          .key = BytesOf(record.key, record.key_len),
                          .value = BytesOf(record.payload, record.len),
                          .headers = {}};
  ForEachHeader(record, [&message](std::string_view name, const void* value, std::size_t size) {
    if (name == kSequenceHeader) return;
    message.headers.push_back({std::string(name), BytesOf(value, size)});
  });
  return message;
}

}  // namespace

RecordClientFactory RecordClients(RecordClientSettings settings) {
  return [settings = std::move(settings)](
             const RecordClientOptions& options) -> absl::StatusOr<std::unique_ptr<RecordClient>> {
    return KafkaRecordClient::Open(settings, options);
  };
}

std::function<absl::Status(const std::string& topic, absl::Time deadline)> MarksTopics(
    MarksTopicSettings from) {
  return [from = std::move(from)](const std::string& topic, absl::Time deadline) {
    absl::Status status = RequireText("brokers", from.brokers);
    if (!status.ok()) return status;
    Settings settings;
    settings.SetProperties(from.properties, {});
    settings.Set("bootstrap.servers", from.brokers);
    if (!settings.status().ok()) return settings.status();
    const auto client = Client::Create(RD_KAFKA_PRODUCER, settings, from.log);
    if (!client.ok()) return client.status();
    const NewTopic wanted{
        .name = topic,
        .kind = "topic of marks",
        .partitions = 1,
        .replication = from.replication,
        .configuration = {
            {"cleanup.policy", "compact,delete"},
            {"retention.ms", absl::StrCat(absl::ToInt64Milliseconds(from.retention))}}};
    return CreateTopic(wanted, (*client)->handle(), deadline);
  };
}

absl::StatusOr<std::unique_ptr<KafkaRecordClient>> KafkaRecordClient::Open(
    const RecordClientSettings& from, const RecordClientOptions& options) {
  if (absl::Status status = Validate(from, options); !status.ok()) return status;
  Settings settings;
  ApplyProducerSettings({.brokers = from.brokers,
                         .linger = from.linger,
                         .delivery_timeout = options.delivery_timeout,
                         .properties = from.properties},
                        settings);
  settings.Set("queue.buffering.max.messages", absl::StrCat(from.queue_records_max));
  settings.Set("queue.buffering.max.kbytes", absl::StrCat(from.queue_bytes_max / 1024));
  if (options.has_no_gaps) settings.Set("enable.gapless.guarantee", "true");
  if (!settings.status().ok()) return settings.status();
  auto client = Client::CreateWithReportEvents(settings, from.log);
  if (!client.ok()) return client.status();
  return std::unique_ptr<KafkaRecordClient>(
      new KafkaRecordClient(*std::move(client), from, options));
}

KafkaRecordClient::KafkaRecordClient(std::shared_ptr<Client> client,
                                     const RecordClientSettings& settings,
                                     const RecordClientOptions& options)
    : client_(std::move(client)),
      has_no_gaps_(options.has_no_gaps),
      delivery_timeout_(options.delivery_timeout),
      records_max_(settings.queue_records_max),
      spent_max_{.records = settings.queue_records_max / kSpentShare,
                 .bytes = settings.queue_bytes_max / kSpentBytesShare},
      firsts_(settings.queue_bytes_max),
      queue_(rd_kafka_queue_get_main(client_->handle())) {}

KafkaRecordClient::~KafkaRecordClient() {
  // Nothing may point at the values of records any more when this returns.
  Purge();
  FreeSpent({});
  const absl::Time deadline = absl::Now() + kDropTime;
  while (rd_kafka_outq_len(handle()) > 0 && absl::Now() < deadline) {
    static_cast<void>(Owned<rd_kafka_event_t>(rd_kafka_queue_poll(queue_.get(), 10)));
  }
}

// Events hold what the client allocated for their records, but for the lists of headers, which are
// filled again. Memory is cheapest to free for the thread that allocated it, which is a sender;
// whoever polls frees what goes beyond `left`.
void KafkaRecordClient::FreeSpent(const Load& left) {
  if (left.records == 0) {
    std::vector<Owned<rd_kafka_headers_t>> gone;
    const std::lock_guard<std::mutex> lock(spent_mutex_);
    gone.swap(spent_headers_);
  }
  while (true) {
    Spent oldest;
    {
      const std::lock_guard<std::mutex> lock(spent_mutex_);
      const bool is_within = spent_load_.records <= left.records && spent_load_.bytes <= left.bytes;
      if (is_within || spent_.empty()) return;
      oldest = PopSpent();
    }
  }
}

absl::StatusOr<std::int32_t> KafkaRecordClient::FindCount(const std::string& topic,
                                                          absl::Time now) const {
  const auto known = known_.counts.find(topic);
  if (known != known_.counts.end() && now - known_.asked < kCountsAge) return known->second;
  const auto missing = known_.missing.find(topic);
  if (missing == known_.missing.end() || now - missing->second >= kMissingAge) {
    return absl::UnavailableError("kafka: not known");
  }
  return absl::InvalidArgumentError(
      absl::StrCat("kafka: there is no topic ", topic, ", or it may not be seen"));
}

absl::StatusOr<std::int32_t> KafkaRecordClient::CountPartitions(const std::string& topic,
                                                                absl::Time deadline) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const absl::StatusOr<std::int32_t> known = FindCount(topic, absl::Now());
    if (!absl::IsUnavailable(known.status())) return known;
  }
  auto topics = ListTopicsWith(topic, handle(), deadline);
  const absl::Time now = absl::Now();
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!topics.ok()) {
    const auto known = known_.counts.find(topic);
    if (known != known_.counts.end()) return known->second;
    return absl::UnavailableError(topics.status().message());
  }
  known_.counts = *std::move(topics);
  known_.asked = now;
  if (known_.missing.size() >= kMissingMax) known_.missing.clear();
  if (!known_.counts.contains(topic)) known_.missing[topic] = now;
  return FindCount(topic, now);
}

// Mostly it is the one of before. Entries stay where they are.
KafkaRecordClient::OpenTopic* KafkaRecordClient::TopicOf(const std::string& name) {
  NamedTopic* last = last_topic_.load(std::memory_order_acquire);
  if (last != nullptr && last->first == name) return &last->second;
  const std::lock_guard<std::mutex> lock(mutex_);
  NamedTopic& topic = *topics_.try_emplace(name).first;
  Owned<rd_kafka_topic_t>& topic_handle = topic.second.handle;
  if (topic_handle == nullptr) {
    topic_handle.reset(rd_kafka_topic_new(handle(), name.c_str(), nullptr));
  }
  if (topic_handle == nullptr) return nullptr;
  last_topic_.store(&topic, std::memory_order_release);
  return &topic.second;
}

absl::Status KafkaRecordClient::HandOver(const ProduceRequest& request) {
  const rd_kafka_resp_err_t error = Produce(handle(), request);
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return absl::OkStatus();
  if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
    return absl::ResourceExhaustedError("kafka: the client's queue is full");
  }
  if (absl::Status broken = status(); !broken.ok()) return broken;
  return DeliveryStatus(error, RD_KAFKA_MSG_STATUS_NOT_PERSISTED, request.message.topic);
}

absl::Status KafkaRecordClient::TrySend(const OutgoingRecord& record) {
  if (has_gap_.load()) return status();
  if (record.is_copied) {
    if (absl::Status valid = ValidateCopied(record); !valid.ok()) return valid;
  }
  Leftover leftover = TakeLeftover();
  leftover.oldest.event = nullptr;
  OpenTopic* topic = TopicOf(record.message.topic);
  if (topic == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("kafka: publishing to ", record.message.topic, ": no name of a topic"));
  }
  auto entry = FirstRecords::Entry::kGo;
  const std::size_t inside = inside_++;
  if (!topic->gates.is_open(record.partition)) {
    entry = inside < records_max_ ? firsts_.Enter(record, absl::Now() + delivery_timeout_)
                                  : FirstRecords::Entry::kFull;
    if (entry == FirstRecords::Entry::kHeld) return absl::OkStatus();
  }
  const absl::Status sent = entry == FirstRecords::Entry::kFull
                                ? absl::ResourceExhaustedError("kafka: the client's queue is full")
                                : HandOver({.message = record.message,
                                            .partition = record.partition,
                                            .stamp = record.stamp,
                                            .topic = topic->handle.get(),
                                            .is_copied = record.is_copied,
                                            .spare = &leftover.headers,
                                            .opaque = OpaqueOf(record.cookie, record.is_copied)});
  if (sent.ok()) return sent;
  --inside_;
  if (entry == FirstRecords::Entry::kFirst) {
    firsts_.Settle(record.message.topic, record.partition, /*is_stored=*/false);
  }
  return sent;
}

// What was held is sent, or told, by the thread that polls.
void KafkaRecordClient::TendFirsts() {
  const auto send = [this](const FirstRecords::Held& held) -> absl::Status {
    if (is_broken()) return status();
    return HandOver({.message = held.message,
                     .partition = held.partition,
                     .stamp = held.stamp,
                     .topic = TopicOf(held.message.topic)->handle.get(),
                     .opaque = OpaqueOf(held.cookie, held.is_copied)});
  };
  const auto tell = [this](FirstRecords::Held& held, absl::Status status) {
    reports_.push_back({.cookie = held.cookie, .status = std::move(status)});
    if (held.is_copied) reports_.back().returned = Return(std::move(held.message));
    if (has_no_gaps_) has_gap_.store(true);
  };
  const auto open = [this](const std::string& topic, std::int32_t partition) {
    TopicOf(topic)->gates.Open(partition);
  };
  firsts_.Tend({.now = absl::Now(), .send = send, .tell = tell, .open = open});
}

// REQUIRES: spent_mutex_ is held, and there is one.
KafkaRecordClient::Spent KafkaRecordClient::PopSpent() {
  Spent oldest = std::move(spent_.front());
  spent_.pop_front();
  spent_load_.records -= oldest.load.records;
  spent_load_.bytes -= oldest.load.bytes;
  return oldest;
}

KafkaRecordClient::Leftover KafkaRecordClient::TakeLeftover() {
  Leftover leftover;
  const std::lock_guard<std::mutex> lock(spent_mutex_);
  if (!spent_headers_.empty()) {
    leftover.headers = std::move(spent_headers_.back());
    spent_headers_.pop_back();
    // The one that is next was last touched long ago.
    if (!spent_headers_.empty()) __builtin_prefetch(spent_headers_.back().get(), 1);
  }
  if (spent_.empty()) return leftover;
  leftover.oldest = PopSpent();
  return leftover;
}

OutgoingMessage* KafkaRecordClient::Return(OutgoingMessage message) {
  message.partition = std::nullopt;
  return &returned_.emplace_back(std::move(message));
}

void KafkaRecordClient::NoteDelivery(const rd_kafka_message_t& message) {
  RecordReport& report = reports_.emplace_back();
  report.cookie = CookieOf(message._private);
  report.status = DeliveryStatus(message);
  if (!report.status.ok() && IsCopied(message._private)) {
    report.returned = Return(MessageOf(message));
  }
  // A record that has its report needs its headers no more: librdkafka lets them be taken away.
  rd_kafka_headers_t* headers = nullptr;
  if (read_headers_.size() < headers_room_ &&
      rd_kafka_message_detach_headers(const_cast<rd_kafka_message_t*>(&message), &headers) ==
          RD_KAFKA_RESP_ERR_NO_ERROR) {
    read_headers_.emplace_back(headers);
  }
  if (firsts_.has_firsts()) {
    firsts_.Settle(rd_kafka_topic_name(message.rkt), message.partition, report.status.ok());
  }
  if (report.status.ok()) {
    report.offset = message.offset;
    return;
  }
  // What the broker has compared is the batch, which librdkafka does not split.
  if (message.err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE &&
      absl::IsInvalidArgument(report.status)) {
    report.status = absl::OutOfRangeError(report.status.message());
  }
  if (has_no_gaps_) has_gap_.store(true);
}

void KafkaRecordClient::TakeEvent(Owned<rd_kafka_event_t> event) {
  rd_kafka_event_t* handle = event.get();
  if (rd_kafka_event_type(handle) == RD_KAFKA_EVENT_ERROR) {
    client_->Log(LogLevel::kWarning, "client_error",
                 absl::StrCat(rd_kafka_err2name(rd_kafka_event_error(handle)), ": ",
                              rd_kafka_event_error_string(handle)));
  }
  if (rd_kafka_event_type(handle) != RD_KAFKA_EVENT_DR) return;
  const std::size_t before = reports_.size();
  {
    const std::lock_guard<std::mutex> lock(spent_mutex_);
    const std::size_t room = std::min(spent_max_.records, kSpentHeadersMax);
    headers_room_ = room - std::min(room, spent_headers_.size());
  }
  Load load;
  while (const rd_kafka_message_t* message = rd_kafka_event_message_next(handle)) {
    if (IsCopied(message->_private)) load.bytes += message->len + message->key_len;
    NoteDelivery(*message);
    if (read_headers_.size() == headers_room_) load.bytes += CountHeaderBytes(*message);
  }
  load.records = reports_.size() - before;
  {
    const std::lock_guard<std::mutex> lock(spent_mutex_);
    spent_.push_back({.event = std::move(event), .load = load});
    spent_load_.records += load.records;
    spent_load_.bytes += load.bytes;
    std::move(read_headers_.begin(), read_headers_.end(), std::back_inserter(spent_headers_));
  }
  read_headers_.clear();
}

bool KafkaRecordClient::is_broken() const {
  return has_gap_.load() || rd_kafka_fatal_error(handle(), nullptr, 0) != 0;
}

void KafkaRecordClient::Poll(absl::Time deadline, const Listener& listener) {
  // A broken client keeps its records until they time out.
  if (inside_.load() > 0 && is_broken()) Purge();
  const absl::Duration wait = std::clamp(deadline - absl::Now(), absl::ZeroDuration(), kServeTime);
  int wait_ms =
      static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(wait, absl::Milliseconds(1))));
  if (firsts_.has_work()) TendFirsts();
  if (!reports_.empty()) wait_ms = 0;
  while (reports_.size() < kReportsTogetherMax) {
    Owned<rd_kafka_event_t> event(rd_kafka_queue_poll(queue_.get(), wait_ms));
    if (event == nullptr) break;
    TakeEvent(std::move(event));
    wait_ms = 0;
  }
  if (firsts_.has_work()) TendFirsts();
  // With nothing inside there may be nobody for a while who could do that.
  FreeSpent(reports_.empty() && inside_.load() == 0 ? Load{} : spent_max_);
  if (reports_.empty()) return;
  listener(reports_);
  inside_ -= reports_.size();
  reports_.clear();
  returned_.clear();
}

void KafkaRecordClient::Wake() { rd_kafka_queue_yield(queue_.get()); }

void KafkaRecordClient::Purge() {
  firsts_.GiveUp();
  rd_kafka_purge(handle(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
}

std::size_t KafkaRecordClient::CountInside() const { return inside_.load(); }

absl::Status KafkaRecordClient::status() const {
  if (absl::Status fatal = client_->FatalStatus(); !fatal.ok() || !has_gap_.load()) return fatal;
  return absl::FailedPreconditionError(
      "kafka: a record was not stored, and none may be stored behind it; open another client");
}

}  // namespace once::kafka
