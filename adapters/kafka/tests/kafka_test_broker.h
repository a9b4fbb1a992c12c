// The broker that tests run against, and what they do to it behind the adapter's back: create
// topics, write, truncate and read them. Its address is in ONCE_TEST_KAFKA (`./dev test` starts
// one). Without it a test skips, except under CI=true, where it fails.
//
//   TEST(Orders, AreKept) {
//     ONCE_REQUIRE_KAFKA(broker);
//     const std::string topic = broker.NewTopic(3);
//     …
//   }
#pragma once

#include <librdkafka/rdkafka.h>

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "once/message.h"
#include "once/position.h"
#include "once/publisher.h"
#include "once/testing/publisher_conformance.h"

// Declares `name`, or ends the test.
#define ONCE_REQUIRE_KAFKA(name)                                                    \
  if (std::getenv("ONCE_TEST_KAFKA") == nullptr) {                                  \
    const char* ci = std::getenv("CI");                                             \
    if (ci != nullptr && std::string_view(ci) == "true") {                          \
      FAIL() << "ONCE_TEST_KAFKA is not set, and this is CI";                       \
    }                                                                               \
    GTEST_SKIP() << "ONCE_TEST_KAFKA is not set; ./dev kafka up prints an address"; \
  }                                                                                 \
  ::once::kafka::testing::TestBroker name(std::getenv("ONCE_TEST_KAFKA"))

namespace once::kafka::testing {

// Different in every call and every process.
inline std::string UniqueName(std::string_view prefix) {
  static std::atomic<int> counter = 0;
  return absl::StrCat(std::string(prefix), "-", getpid(), "-",
                      absl::ToUnixMicros(absl::Now()) % 1'000'000'000, "-", ++counter);
}

// Whatever goes wrong here throws: a test cannot go on without its broker.
class TestBroker {
 public:
  explicit TestBroker(std::string brokers)
      : brokers_(std::move(brokers)), handle_(NewHandle(RD_KAFKA_PRODUCER, {})) {}

  const std::string& brokers() const { return brokers_; }

  std::string NewTopic(std::int32_t partitions) {
    std::string topic = UniqueName("test");
    CreateTopic(topic, partitions);
    return topic;
  }

  void CreateTopic(const std::string& topic, std::int32_t partitions,
                   const std::vector<std::pair<std::string, std::string>>& configuration = {}) {
    std::array<char, 512> reason{};
    rd_kafka_NewTopic_t* created =
        rd_kafka_NewTopic_new(topic.c_str(), partitions, -1, reason.data(), reason.size());
    for (const auto& [name, value] : configuration) {
      rd_kafka_NewTopic_set_config(created, name.c_str(), value.c_str());
    }
    rd_kafka_AdminOptions_t* options =
        rd_kafka_AdminOptions_new(handle_.get(), RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_AdminOptions_set_operation_timeout(options, 20'000, reason.data(), reason.size());
    rd_kafka_queue_t* queue = rd_kafka_queue_new(handle_.get());
    rd_kafka_CreateTopics(handle_.get(), &created, 1, options, queue);
    rd_kafka_event_t* event = rd_kafka_queue_poll(queue, 30'000);
    std::size_t count = 0;
    const rd_kafka_topic_result_t** results =
        event == nullptr || rd_kafka_event_CreateTopics_result(event) == nullptr
            ? nullptr
            : rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event),
                                                  &count);
    const rd_kafka_resp_err_t error =
        count == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (event != nullptr) rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_NewTopic_destroy(created);
    Check(error, "creating " + topic);
  }

  // The topic is gone, and its name free, when this returns.
  void DeleteTopic(const std::string& topic) {
    rd_kafka_DeleteTopic_t* deleted = rd_kafka_DeleteTopic_new(topic.c_str());
    rd_kafka_queue_t* queue = rd_kafka_queue_new(handle_.get());
    rd_kafka_DeleteTopics(handle_.get(), &deleted, 1, nullptr, queue);
    rd_kafka_event_t* event = rd_kafka_queue_poll(queue, 30'000);
    const rd_kafka_resp_err_t error =
        event == nullptr ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_event_error(event);
    if (event != nullptr) rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteTopic_destroy(deleted);
    Check(error, "deleting " + topic);
  }

  // What an operator's tool does to the offset of a group without members: a commit without
  // metadata.
  void CommitOffset(const std::string& group, const TopicPartition& partition,
                    std::int64_t offset) {
    const Handle tool = NewHandle(RD_KAFKA_CONSUMER, {{"group.id", group}});
    rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, partition.topic.c_str(), partition.partition)->offset =
        offset;
    const rd_kafka_resp_err_t error = rd_kafka_commit(tool.get(), list, /*async=*/0);
    rd_kafka_topic_partition_list_destroy(list);
    Check(error, "committing for " + group);
  }

  // Removes everything below `offset`.
  void Truncate(const TopicPartition& partition, std::int64_t offset) {
    rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, partition.topic.c_str(), partition.partition)->offset =
        offset;
    rd_kafka_DeleteRecords_t* request = rd_kafka_DeleteRecords_new(list);
    rd_kafka_queue_t* queue = rd_kafka_queue_new(handle_.get());
    rd_kafka_DeleteRecords(handle_.get(), &request, 1, nullptr, queue);
    rd_kafka_event_t* event = rd_kafka_queue_poll(queue, 30'000);
    const rd_kafka_resp_err_t error =
        event == nullptr ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_event_error(event);
    if (event != nullptr) rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteRecords_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
    Check(error, "truncating " + ToString(partition));
  }

  // Stores the messages in order; returns when all are acknowledged. The offset of the last one.
  std::int64_t Produce(const std::vector<OutgoingMessage>& messages) {
    reports_ = {};
    for (const OutgoingMessage& message : messages) ProduceOne(message);
    rd_kafka_flush(handle_.get(), 30'000);
    Check(reports_.error, "producing");
    if (reports_.count != messages.size()) throw std::runtime_error("producing: no report");
    return reports_.last_offset;
  }

  // Everything that is in the topic, by partition and offset; of transactions, what is committed.
  std::vector<once::testing::StoredMessage> DumpTopic(
      const std::string& topic, const std::string& isolation = "read_committed") {
    std::vector<once::testing::StoredMessage> stored;
    const auto see = [&](const rd_kafka_message_t& message) {
      stored.push_back({.offset = message.offset,
                        .message = {.topic = rd_kafka_topic_name(message.rkt),
                                    .partition = message.partition,
                                    .key = TextOf(message.key, message.key_len),
                                    .value = TextOf(message.payload, message.len),
                                    .headers = HeadersOf(message)}});
    };
    ReadTopic(topic, see, isolation);
    return stored;
  }

  // Shows every message of the topic to `see`, by partition and offset; nothing is kept.
  template <typename See>
  void ReadTopic(const std::string& topic, See see,
                 const std::string& isolation = "read_committed") {
    const Handle consumer = NewHandle(RD_KAFKA_CONSUMER, {{"group.id", "dump"},
                                                          {"enable.auto.commit", "false"},
                                                          {"fetch.wait.max.ms", "10"},
                                                          {"isolation.level", isolation},
                                                          {"enable.partition.eof", "true"}});
    rd_kafka_poll_set_consumer(consumer.get());
    for (std::int32_t i = 0; i < PartitionCount(topic); ++i) {
      rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(1);
      rd_kafka_topic_partition_list_add(list, topic.c_str(), i)->offset = 0;
      rd_kafka_topic_partition_list_set_offset(list, topic.c_str(), i, RD_KAFKA_OFFSET_BEGINNING);
      Check(rd_kafka_assign(consumer.get(), list), "reading");
      rd_kafka_topic_partition_list_destroy(list);
      while (TakeOne(consumer.get(), see)) {
      }
    }
  }

  // The group's offset in each partition of the topic.
  std::vector<std::optional<std::int64_t>> CommittedOffsets(const std::string& group,
                                                            const std::string& topic,
                                                            std::int32_t partitions) {
    Handle& member = groups_[group];
    if (member == nullptr) member = NewHandle(RD_KAFKA_CONSUMER, {{"group.id", group}});
    rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(partitions);
    for (std::int32_t i = 0; i < partitions; ++i) {
      rd_kafka_topic_partition_list_add(list, topic.c_str(), i);
    }
    const rd_kafka_resp_err_t error = rd_kafka_committed(member.get(), list, 10'000);
    std::vector<std::optional<std::int64_t>> offsets(static_cast<std::size_t>(partitions));
    for (std::int32_t i = 0; i < partitions; ++i) {
      const std::int64_t offset = list->elems[i].offset;
      if (offset >= 0) offsets[static_cast<std::size_t>(i)] = offset;
    }
    rd_kafka_topic_partition_list_destroy(list);
    Check(error, "asking for the offsets of " + group);
    return offsets;
  }

  // One past the newest message of each partition.
  std::vector<std::int64_t> EndOffsets(const std::string& topic, std::int32_t partitions) {
    std::vector<std::int64_t> ends;
    for (std::int32_t i = 0; i < partitions; ++i) {
      std::int64_t first = 0;
      Check(rd_kafka_query_watermark_offsets(handle_.get(), topic.c_str(), i, &first,
                                             &ends.emplace_back(), 10'000),
            "asking for the end of " + topic);
    }
    return ends;
  }

  // The last value of that header; nullopt when there is none.
  static std::optional<std::string> HeaderOf(const rd_kafka_message_t& message, const char* name) {
    rd_kafka_headers_t* headers = nullptr;
    if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) {
      return std::nullopt;
    }
    const void* value = nullptr;
    std::size_t size = 0;
    if (rd_kafka_header_get_last(headers, name, &value, &size) != RD_KAFKA_RESP_ERR_NO_ERROR) {
      return std::nullopt;
    }
    return TextOf(value, size);
  }

  std::int32_t PartitionCount(const std::string& topic) {
    rd_kafka_topic_t* object = rd_kafka_topic_new(handle_.get(), topic.c_str(), nullptr);
    const rd_kafka_metadata_t* metadata = nullptr;
    const rd_kafka_resp_err_t error =
        rd_kafka_metadata(handle_.get(), 0, object, &metadata, 10'000);
    rd_kafka_topic_destroy(object);
    Check(error, "asking for " + topic);
    const bool is_there = metadata->topic_cnt == 1;
    const std::int32_t count = is_there ? metadata->topics[0].partition_cnt : 0;
    const rd_kafka_resp_err_t found = is_there ? metadata->topics[0].err : error;
    rd_kafka_metadata_destroy(metadata);
    // A topic of which nobody can say anything now is no topic without partitions.
    if (found != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) Check(found, "looking for " + topic);
    return count;
  }

 private:
  struct Destroy {
    void operator()(rd_kafka_t* handle) const { rd_kafka_destroy(handle); }
  };
  using Handle = std::unique_ptr<rd_kafka_t, Destroy>;

  struct Reports {
    std::size_t count = 0;
    std::int64_t last_offset = -1;
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
  };

  static void Check(rd_kafka_resp_err_t error, const std::string& operation) {
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return;
    throw std::runtime_error(operation + ": " + rd_kafka_err2str(error));
  }

  Handle NewHandle(rd_kafka_type_t type,
                   std::vector<std::pair<std::string, std::string>> settings) {
    settings.emplace_back("bootstrap.servers", brokers_);
    if (type == RD_KAFKA_PRODUCER) settings.emplace_back("enable.idempotence", "true");
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    std::array<char, 512> reason{};
    for (const auto& [name, value] : settings) {
      if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), reason.data(), reason.size()) !=
          RD_KAFKA_CONF_OK) {
        throw std::runtime_error(reason.data());
      }
    }
    rd_kafka_conf_set_opaque(conf, this);
    if (type == RD_KAFKA_PRODUCER) {
      rd_kafka_conf_set_dr_msg_cb(
          conf, +[](rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
            Reports& reports = static_cast<TestBroker*>(opaque)->reports_;
            ++reports.count;
            reports.last_offset = message->offset;
            if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) reports.error = message->err;
          });
    }
    rd_kafka_t* handle = rd_kafka_new(type, conf, reason.data(), reason.size());
    if (handle == nullptr) throw std::runtime_error(reason.data());
    return Handle(handle);
  }

  void ProduceOne(const OutgoingMessage& message) {
    rd_kafka_headers_t* headers = rd_kafka_headers_new(4);
    for (const OwnedHeader& header : message.headers) {
      rd_kafka_header_add(headers, header.name.data(), static_cast<ssize_t>(header.name.size()),
                          header.value ? header.value->data() : nullptr,
                          header.value ? static_cast<ssize_t>(header.value->size()) : 0);
    }
    std::array<rd_kafka_vu_t, 6> fields{};
    fields[0].vtype = RD_KAFKA_VTYPE_TOPIC;
    fields[0].u.cstr = message.topic.c_str();
    fields[1].vtype = RD_KAFKA_VTYPE_PARTITION;
    fields[1].u.i32 = message.partition.value_or(RD_KAFKA_PARTITION_UA);
    fields[2].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    fields[2].u.i = RD_KAFKA_MSG_F_COPY | RD_KAFKA_MSG_F_BLOCK;
    fields[3].vtype = RD_KAFKA_VTYPE_KEY;
    fields[3].u.mem = Bytes(message.key);
    fields[4].vtype = RD_KAFKA_VTYPE_VALUE;
    fields[4].u.mem = Bytes(message.value);
    fields[5].vtype = RD_KAFKA_VTYPE_HEADERS;
    fields[5].u.headers = headers;
    rd_kafka_error_t* error = rd_kafka_produceva(handle_.get(), fields.data(), fields.size());
    if (error != nullptr) throw std::runtime_error(rd_kafka_error_string(error));
  }

  static decltype(rd_kafka_vu_t::u.mem) Bytes(const std::optional<std::string>& text) {
    if (!text.has_value()) return {nullptr, 0};
    return {const_cast<char*>(text->data()), text->size()};
  }

  static std::optional<std::string> TextOf(const void* bytes, std::size_t size) {
    if (bytes == nullptr) return std::nullopt;
    return std::string(static_cast<const char*>(bytes), size);
  }

  // False at the end of the partition.
  template <typename See>
  static bool TakeOne(rd_kafka_t* consumer, See see) {
    rd_kafka_message_t* message = rd_kafka_consumer_poll(consumer, 10'000);
    if (message == nullptr) throw std::runtime_error("reading a topic: timed out");
    const rd_kafka_resp_err_t error = message->err;
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) see(*message);
    rd_kafka_message_destroy(message);
    if (error == RD_KAFKA_RESP_ERR__PARTITION_EOF) return false;
    Check(error, "reading a topic");
    return true;
  }

  static std::vector<OwnedHeader> HeadersOf(const rd_kafka_message_t& message) {
    std::vector<OwnedHeader> owned;
    rd_kafka_headers_t* headers = nullptr;
    if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return owned;
    const char* name = nullptr;
    const void* value = nullptr;
    std::size_t size = 0;
    for (std::size_t i = 0;
         rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
         ++i) {
      owned.push_back({name, TextOf(value, size)});
    }
    return owned;
  }

  const std::string brokers_;
  Reports reports_;
  Handle handle_;
  std::map<std::string, Handle> groups_;  // of CommittedOffsets(): never joined
};

}  // namespace once::kafka::testing
