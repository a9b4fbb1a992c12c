// Side topics, read by assignment from their beginning.
#include "once/kafka/marks.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/client.h"
#include "adapters/kafka/errors.h"
#include "adapters/kafka/handles.h"
#include "adapters/kafka/settings.h"
#include "once/abseil.h"
#include "once/position.h"
#include "once/sequence.h"

namespace once::kafka {
namespace {

constexpr absl::Duration kQuestionTime = absl::Seconds(2);
// What is asked now and then keeps the polling thread waiting, so not for long.
constexpr absl::Duration kSecondQuestionTime = absl::Milliseconds(500);
// How often side topics that did not exist, or had fewer partitions, are looked for.
constexpr absl::Duration kLookInterval = absl::Seconds(30);

constexpr std::string_view kReadWhole = "side topics are read whole, outside of any group";
constexpr std::array kFixed = {
    FixedProperty{"bootstrap.servers", "use .brokers"},
    FixedProperty{"metadata.broker.list", "use .brokers"},
    FixedProperty{"group.id", kReadWhole},
    FixedProperty{"group.instance.id", kReadWhole},
    FixedProperty{"enable.auto.commit", kReadWhole},
    FixedProperty{"auto.offset.reset", kReadWhole},
    FixedProperty{"enable.partition.eof", kReadWhole},
    FixedProperty{"allow.auto.create.topics", "a side topic is its producer's to create"},
    FixedProperty{"log.queue", "use .log"},
};

class KafkaMarks final : public MarkSource {
 public:
  explicit KafkaMarks(std::shared_ptr<Client> client) : client_(std::move(client)) {
    rd_kafka_poll_set_consumer(client_->handle());
  }
  ~KafkaMarks() override {
    topics_.clear();
    rd_kafka_consumer_close(client_->handle());
  }

  absl::Status Follow(std::span<const std::string> topics) override {
    std::map<std::string, Owned<rd_kafka_topic_t>> wanted;
    for (const std::string& topic : topics) {
      const std::string name = MarksTopic(topic);
      wanted[name].reset(rd_kafka_topic_new(client_->handle(), name.c_str(), nullptr));
      if (wanted[name] == nullptr) {
        return absl::InvalidArgumentError(absl::StrCat("kafka: ", name, " is no name of a topic"));
      }
    }
    topics_ = std::move(wanted);
    partitions_.clear();
    return Look(true);
  }

  absl::StatusOr<std::vector<ReceivedMark>> Poll(std::size_t records_max) override {
    // A topic that came to be is read like the others; the next time will do where that fails.
    if (absl::Now() - looked_ >= kLookInterval) (void)Look(false);
    std::vector<ReceivedMark> received;
    while (received.size() < records_max) {
      rd_kafka_message_t* message = rd_kafka_consumer_poll(client_->handle(), 0);
      if (message == nullptr) break;
      Take(*message, received);
      rd_kafka_message_destroy(message);
    }
    if (absl::Status fatal = client_->FatalStatus(); !fatal.ok()) return fatal;
    return received;
  }

  bool has_caught_up() const override { return is_looked_ && unread_.empty(); }

 private:
  // One question for all topics: the client asks for those that it has objects of.
  absl::Status Look(bool is_anew) {
    looked_ = absl::Now();
    if (is_anew) is_looked_ = false;
    const rd_kafka_metadata_t* raw = nullptr;
    const absl::Duration wait = is_anew ? kQuestionTime : kSecondQuestionTime;
    const rd_kafka_resp_err_t error = rd_kafka_metadata(
        client_->handle(), 0, nullptr, &raw, static_cast<int>(absl::ToInt64Milliseconds(wait)));
    const Owned<const rd_kafka_metadata_t> metadata(raw);
    constexpr std::string_view kQuestion = "asking for the partitions of side topics";
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return ToStatus(error, kQuestion);
    std::set<TopicPartition> found;
    for (int i = 0; i < metadata->topic_cnt; ++i) {
      const rd_kafka_metadata_topic_t& told = metadata->topics[i];
      if (!topics_.contains(told.topic)) continue;
      // It may come to be.
      if (told.err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
          told.err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC) {
        continue;
      }
      if (told.err != RD_KAFKA_RESP_ERR_NO_ERROR) return ToStatus(told.err, kQuestion);
      for (int n = 0; n < told.partition_cnt; ++n) found.insert({told.topic, n});
    }
    if (!is_anew && found == partitions_) return absl::OkStatus();
    partitions_ = std::move(found);
    return Assign();
  }

  absl::Status Assign() {
    const Owned<rd_kafka_topic_partition_list_t> list(
        rd_kafka_topic_partition_list_new(static_cast<int>(partitions_.size())));
    for (const TopicPartition& partition : partitions_) {
      rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(), partition.partition)
          ->offset = RD_KAFKA_OFFSET_BEGINNING;
    }
    unread_ = partitions_;
    // What is still on its way of an earlier assignment is dropped with it.
    rd_kafka_assign(client_->handle(), nullptr);
    const rd_kafka_resp_err_t error = rd_kafka_assign(client_->handle(), list.get());
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return ToStatus(error, "assigning side topics");
    is_looked_ = true;
    return absl::OkStatus();
  }

  void Take(const rd_kafka_message_t& message, std::vector<ReceivedMark>& received) {
    if (message.rkt == nullptr) return;  // an error of the client's, which it has logged
    const std::string topic = rd_kafka_topic_name(message.rkt);
    if (message.err == RD_KAFKA_RESP_ERR__PARTITION_EOF) unread_.erase({topic, message.partition});
    const std::optional<std::string_view> marked = MarkedTopic(topic);
    if (message.err != RD_KAFKA_RESP_ERR_NO_ERROR || !marked) return;
    received.push_back(
        {.topic = std::string(*marked),
         .key = std::string(static_cast<const char*>(message.key), message.key_len),
         .value = std::string(static_cast<const char*>(message.payload), message.len)});
  }

  const std::shared_ptr<Client> client_;
  std::map<std::string, Owned<rd_kafka_topic_t>> topics_;  // side topics
  std::set<TopicPartition> partitions_;                    // assigned
  std::set<TopicPartition> unread_;                        // whose end has not been seen
  absl::Time looked_ = absl::InfinitePast();
  bool is_looked_ = false;  // since the last Follow()
};

}  // namespace

absl::StatusOr<std::shared_ptr<MarkSource>> OpenMarks(const MarkOptions& options) {
  if (absl::Status status = RequireText("brokers", options.brokers); !status.ok()) return status;
  Settings settings;
  settings.SetProperties(options.properties, kFixed);
  settings.Set("bootstrap.servers", options.brokers);
  settings.Set("client.id", "once-marks");
  settings.Set("group.id", "once-marks");  // which is never joined
  settings.Set("enable.auto.commit", "false");
  settings.Set("auto.offset.reset", "earliest");
  settings.Set("enable.partition.eof", "true");
  settings.Set("allow.auto.create.topics", "false");
  if (!settings.status().ok()) return settings.status();
  absl::StatusOr<std::shared_ptr<Client>> client =
      Client::Create(RD_KAFKA_CONSUMER, settings, options.log);
  if (!client.ok()) return client.status();
  return std::make_shared<KafkaMarks>(*std::move(client));
}

}  // namespace once::kafka
