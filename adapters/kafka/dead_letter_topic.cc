// A publisher that sees to it that the topics it publishes to exist.
#include "once/kafka/dead_letter_topic.h"

#include <algorithm>
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
#include "adapters/kafka/errors.h"
#include "adapters/kafka/handles.h"
#include "adapters/kafka/kafka_publisher.h"
#include "adapters/kafka/topics.h"
#include "once/abseil.h"
#include "once/publisher.h"

namespace once::kafka {
namespace {

constexpr std::string_view kOriginTopicHeader = "once-origin-topic";

std::optional<std::string> OriginOf(const OutgoingMessage& letter) {
  for (const OwnedHeader& header : letter.headers) {
    if (header.name == kOriginTopicHeader) return header.value;
  }
  return std::nullopt;
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
  return CreateTopic({.name = letter.topic,
                      .kind = "dead letter topic",
                      .partitions = partitions,
                      .replication = options_.replication},
                     handle, deadline);
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
