// KafkaRecordClient: records into librdkafka, copied or from where their values lie, and delivery
// reports out of it, a batch at a time. The first record of each partition goes alone
// (FirstRecords).
// Thread-safety: as RecordClient.
#pragma once

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "adapters/kafka/client.h"
#include "adapters/kafka/first_records.h"
#include "adapters/kafka/handles.h"
#include "adapters/kafka/produce.h"
#include "once/kafka/record_client.h"
#include "once/record_client.h"

namespace once::kafka {

class KafkaRecordClient final : public RecordClient {
 public:
  static absl::StatusOr<std::unique_ptr<KafkaRecordClient>> Open(
      const RecordClientSettings& settings, const RecordClientOptions& options);
  ~KafkaRecordClient() override;

  absl::StatusOr<std::int32_t> CountPartitions(const std::string& topic,
                                               absl::Time deadline) override;
  absl::Status TrySend(const OutgoingRecord& record) override;
  void Poll(absl::Time deadline, const Listener& listener) override;
  void Wake() override;
  void Purge() override;
  std::size_t CountInside() const override;
  absl::Status status() const override;

  rd_kafka_t* handle() const { return client_->handle(); }

 private:
  KafkaRecordClient(std::shared_ptr<Client> client, const RecordClientSettings& settings,
                    const RecordClientOptions& options);

  struct OpenTopic {
    Owned<rd_kafka_topic_t> handle;
    OpenGates gates;
  };

  struct Load {
    std::size_t records = 0;
    std::size_t bytes = 0;  // of what was copied and is still with them
  };
  // Reports that have been read.
  struct Spent {
    Owned<rd_kafka_event_t> event;
    Load load;
  };
  // What a sender does with what is spent: it frees the one and fills the other again.
  struct Leftover {
    Spent oldest;
    Owned<rd_kafka_headers_t> headers;
  };

  void TakeEvent(Owned<rd_kafka_event_t> event);
  void NoteDelivery(const rd_kafka_message_t& message);
  OutgoingMessage* Return(OutgoingMessage message);
  void FreeSpent(const Load& left);
  Spent PopSpent();
  Leftover TakeLeftover();
  OpenTopic* TopicOf(const std::string& name);
  // OK: the client has it.
  absl::Status HandOver(const ProduceRequest& request);
  void TendFirsts();
  bool is_broken() const;

  const std::shared_ptr<Client> client_;
  const bool has_no_gaps_;
  const absl::Duration delivery_timeout_;
  const std::size_t records_max_;
  const Load spent_max_;
  FirstRecords firsts_;
  std::atomic<bool> has_gap_ = false;
  std::atomic<std::size_t> inside_ = 0;
  // Of the Poll() that runs.
  std::vector<RecordReport> reports_;
  std::deque<OutgoingMessage> returned_;
  std::mutex spent_mutex_;
  std::deque<Spent> spent_;
  Load spent_load_;
  // Lists of headers of records that are reported.
  std::vector<Owned<rd_kafka_headers_t>> spent_headers_;
  // Of the Poll() that runs, which may take so many.
  std::vector<Owned<rd_kafka_headers_t>> read_headers_;
  std::size_t headers_room_ = 0;

  struct KnownTopics {
    std::map<std::string, std::int32_t> counts;
    absl::Time asked = absl::InfinitePast();
    // When each topic was last not found; bounded by forgetting all.
    absl::flat_hash_map<std::string, absl::Time> missing;
  };
  absl::StatusOr<std::int32_t> FindCount(const std::string& topic, absl::Time now) const;
  std::mutex mutex_;
  KnownTopics known_;
  // Bounded by the topics that there are. They go before the client does.
  std::map<std::string, OpenTopic> topics_;
  using NamedTopic = std::pair<const std::string, OpenTopic>;
  std::atomic<NamedTopic*> last_topic_ = nullptr;
  const Owned<rd_kafka_queue_t> queue_;
};

}  // namespace once::kafka
