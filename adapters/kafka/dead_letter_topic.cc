// A publisher that sees to it that the topics it publishes to exist.
#include "once/kafka/dead_letter_topic.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/errors.h"
#include "adapters/kafka/handles.h"
#include "adapters/kafka/kafka_publisher.h"
#include "once/abseil.h"
#include "once/publisher.h"

namespace once::kafka {
namespace {

constexpr std::string_view kOriginTopicHeader = "once-origin-topic";
constexpr absl::Duration kTopicTimeout = absl::Seconds(10);

// A broker that has answered that a topic is created may list it only a moment later (its metadata
// follow the controller's log): one that is not listed is looked for again for so long.
constexpr absl::Duration kListingLag = absl::Seconds(2);
constexpr absl::Duration kListingPause = absl::Milliseconds(50);

int Milliseconds(absl::Time deadline) {
  const absl::Duration left = std::min(deadline - absl::Now(), kTopicTimeout);
  return static_cast<int>(std::max<std::int64_t>(absl::ToInt64Milliseconds(left), 1));
}

std::optional<std::string> OriginOf(const OutgoingMessage& letter) {
  for (const OwnedHeader& header : letter.headers) {
    if (header.name == kOriginTopicHeader) return header.value;
  }
  return std::nullopt;
}

// Partition counts by topic. All topics are asked for: asking for one by name may create it, with
// the broker's default partition count, where the broker creates topics by itself.
absl::StatusOr<std::map<std::string, std::int32_t>> ListTopics(rd_kafka_t* handle,
                                                               absl::Time deadline) {
  const rd_kafka_metadata_t* raw = nullptr;
  const rd_kafka_resp_err_t error =
      rd_kafka_metadata(handle, /*all_topics=*/1, nullptr, &raw, Milliseconds(deadline));
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return ToStatus(error, "listing topics");
  const Owned<const rd_kafka_metadata_t> metadata(raw);
  std::map<std::string, std::int32_t> topics;
  for (int i = 0; i < metadata->topic_cnt; ++i) {
    const rd_kafka_metadata_topic_t& topic = metadata->topics[i];
    if (topic.err == RD_KAFKA_RESP_ERR_NO_ERROR) topics[topic.topic] = topic.partition_cnt;
  }
  return topics;
}

// The topics, once `wanted` is among them or is taken to be missing.
absl::StatusOr<std::map<std::string, std::int32_t>> ListTopicsWith(const std::string& wanted,
                                                                   rd_kafka_t* handle,
                                                                   absl::Time deadline) {
  const absl::Time given_up = std::min(deadline, absl::Now() + kListingLag);
  while (true) {
    auto topics = ListTopics(handle, deadline);
    if (!topics.ok() || topics->contains(wanted) || absl::Now() >= given_up) return topics;
    absl::SleepFor(kListingPause);
  }
}

// The error of the one topic in a CreateTopics result.
absl::Status ResultOf(rd_kafka_event_t* event, const std::string& topic) {
  const std::string operation = absl::StrCat("creating the dead letter topic ", topic);
  rd_kafka_resp_err_t error = rd_kafka_event_error(event);
  std::string detail = rd_kafka_event_error_string(event);
  const rd_kafka_CreateTopics_result_t* result = rd_kafka_event_CreateTopics_result(event);
  std::size_t count = 0;
  const rd_kafka_topic_result_t** topics =
      result == nullptr ? nullptr : rd_kafka_CreateTopics_result_topics(result, &count);
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR && count > 0) {
    error = rd_kafka_topic_result_error(topics[0]);
    const char* text = rd_kafka_topic_result_error_string(topics[0]);
    detail = text == nullptr ? "" : text;
  }
  if (error == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) return absl::OkStatus();
  absl::Status status = ToStatus(error, operation, detail);
  if (!IsRefusal(error)) return status;
  return absl::InvalidArgumentError(status.message());  // no retry can help
}

absl::Status CreateTopic(rd_kafka_t* handle, const std::string& topic, std::int32_t partitions,
                         std::int16_t replication, absl::Time deadline) {
  std::array<char, 512> reason{};
  const Owned<rd_kafka_NewTopic_t> created(
      rd_kafka_NewTopic_new(topic.c_str(), partitions, replication, reason.data(), reason.size()));
  if (created == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("kafka: dead letter topic ", topic, ": ", reason.data()));
  }
  const int wait = Milliseconds(deadline);
  const Owned<rd_kafka_AdminOptions_t> options(
      rd_kafka_AdminOptions_new(handle, RD_KAFKA_ADMIN_OP_CREATETOPICS));
  rd_kafka_AdminOptions_set_request_timeout(options.get(), wait, reason.data(), reason.size());
  // The broker answers once the topic can be used.
  rd_kafka_AdminOptions_set_operation_timeout(options.get(), wait, reason.data(), reason.size());
  const Owned<rd_kafka_queue_t> replies(rd_kafka_queue_new(handle));
  rd_kafka_NewTopic_t* topics = created.get();
  rd_kafka_CreateTopics(handle, &topics, 1, options.get(), replies.get());
  const Owned<rd_kafka_event_t> event(rd_kafka_queue_poll(replies.get(), wait + 1000));
  if (event == nullptr) {
    return absl::DeadlineExceededError(
        absl::StrCat("kafka: creating the dead letter topic ", topic, ": no answer"));
  }
  return ResultOf(event.get(), topic);
}

class DeadLetterPublisher final : public Publisher {
 public:
  DeadLetterPublisher(std::shared_ptr<KafkaPublisher> publisher, DeadLetterOptions options)
      : publisher_(std::move(publisher)), options_(std::move(options)) {}

  void Publish(std::span<const OutgoingMessage> messages, absl::Time deadline,
               std::span<absl::Status> outcomes) override;

 private:
  absl::Status EnsureTopic(const OutgoingMessage& letter, absl::Time deadline);
  absl::Status CreateIfMissing(const OutgoingMessage& letter, rd_kafka_t* handle,
                               absl::Time deadline) const;
  // A topic that refuses letters may be gone: it is looked for again.
  void ForgetRefused(std::span<const OutgoingMessage> letters,
                     std::span<const absl::Status> outcomes);

  const std::shared_ptr<KafkaPublisher> publisher_;
  const DeadLetterOptions options_;
  std::mutex mutex_;
  std::set<std::string> known_;
};

void DeadLetterPublisher::Publish(std::span<const OutgoingMessage> messages, absl::Time deadline,
                                  std::span<absl::Status> outcomes) {
  std::vector<OutgoingMessage> letters;
  std::vector<std::size_t> places;
  std::map<std::string, absl::Status> checked;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto [topic, is_new] = checked.try_emplace(messages[i].topic);
    if (is_new) topic->second = EnsureTopic(messages[i], deadline);
    outcomes[i] = topic->second;
    if (outcomes[i].ok()) places.push_back(i);
  }
  if (places.size() == messages.size()) {
    publisher_->Publish(messages, deadline, outcomes);
    ForgetRefused(messages, outcomes);
    return;
  }
  letters.reserve(places.size());
  for (const std::size_t place : places) letters.push_back(messages[place]);
  std::vector<absl::Status> published(letters.size());
  publisher_->Publish(letters, deadline, published);
  ForgetRefused(letters, published);
  for (std::size_t i = 0; i < places.size(); ++i) outcomes[places[i]] = published[i];
}

void DeadLetterPublisher::ForgetRefused(std::span<const OutgoingMessage> letters,
                                        std::span<const absl::Status> outcomes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (std::size_t i = 0; i < letters.size(); ++i) {
    if (absl::IsInvalidArgument(outcomes[i])) known_.erase(letters[i].topic);
  }
}

absl::Status DeadLetterPublisher::EnsureTopic(const OutgoingMessage& letter, absl::Time deadline) {
  // Held throughout: one creation at a time.
  const std::lock_guard<std::mutex> lock(mutex_);
  if (known_.contains(letter.topic)) return absl::OkStatus();
  const auto producer = publisher_->producer();
  if (!producer.ok()) return producer.status();
  rd_kafka_t* handle = (*producer)->handle();
  if (!options_.create_topics) {
    const auto topics = ListTopicsWith(letter.topic, handle, deadline);
    if (!topics.ok()) return topics.status();
    if (!topics->contains(letter.topic)) {
      return absl::InvalidArgumentError(
          absl::StrCat("kafka: the dead letter topic ", letter.topic,
                       " does not exist; create it, or set DeadLetterOptions::create_topics"));
    }
  } else if (absl::Status status = CreateIfMissing(letter, handle, deadline); !status.ok()) {
    return status;
  }
  known_.insert(letter.topic);
  return absl::OkStatus();
}

absl::Status DeadLetterPublisher::CreateIfMissing(const OutgoingMessage& letter, rd_kafka_t* handle,
                                                  absl::Time deadline) const {
  auto topics = ListTopics(handle, deadline);
  if (!topics.ok()) return topics.status();
  if (topics->contains(letter.topic)) return absl::OkStatus();
  std::int32_t partitions = std::max(options_.partitions, 1);
  const std::optional<std::string> origin = OriginOf(letter);
  if (options_.partitions == 0 && origin.has_value()) {
    topics = ListTopicsWith(*origin, handle, deadline);
    if (!topics.ok()) return topics.status();
    const auto found = topics->find(*origin);
    if (found != topics->end()) partitions = found->second;
  }
  return CreateTopic(handle, letter.topic, partitions, options_.replication, deadline);
}

absl::Status Validate(const DeadLetterOptions& options) {
  absl::Status status = RequireText("brokers", options.brokers);
  if (options.topic == nullptr) {
    status.Update(absl::InvalidArgumentError("kafka: .topic is not a function"));
  }
  if (options.partitions < 0) {
    status.Update(absl::InvalidArgumentError("kafka: .partitions is negative"));
  }
  if (options.replication < 1 && options.replication != -1) {
    status.Update(absl::InvalidArgumentError("kafka: .replication is neither positive nor -1"));
  }
  return status;
}

}  // namespace

absl::StatusOr<DeadLetterSink> OpenDeadLetterTopic(DeadLetterOptions options) {
  if (absl::Status status = Validate(options); !status.ok()) return status;
  absl::StatusOr<std::shared_ptr<KafkaPublisher>> publisher =
      KafkaPublisher::Open({.brokers = options.brokers,
                            .delivery_timeout = options.delivery_timeout,
                            .properties = options.properties,
                            .log = options.log});
  if (!publisher.ok()) return publisher.status();
  DeadLetterTopicFunction topic = options.topic;
  return DeadLetterSink{
      .publisher = std::make_shared<DeadLetterPublisher>(*std::move(publisher), std::move(options)),
      .topic = std::move(topic)};
}

}  // namespace once::kafka
