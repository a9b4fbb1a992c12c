// librdkafka as the benchmark uses it besides once::kafka: owners, errors as exceptions, and the
// one set of client settings that every contestant gets.
#pragma once

#include <librdkafka/rdkafka.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace once::benchmark {

using Settings = std::vector<std::pair<std::string, std::string>>;

// For every contestant the same. Version 2.0.2 backs off for a second whenever more than
// queued.min.messages are buffered, which a consumer slower than the fetch pays for with most of
// its speed: so there is room for the topic's messages, bounded in bytes.
inline Settings FetchSettings() {
  return {{"queued.min.messages", "1000000"},
          {"queued.max.messages.kbytes", "262144"},
          {"fetch.wait.max.ms", "100"}};
}

inline void Check(rd_kafka_resp_err_t error, const std::string& operation) {
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return;
  throw std::runtime_error(operation + ": " + rd_kafka_err2str(error));
}

struct Destroy {
  void operator()(rd_kafka_t* handle) const { rd_kafka_destroy(handle); }
  void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
  void operator()(rd_kafka_topic_t* topic) const { rd_kafka_topic_destroy(topic); }
  void operator()(rd_kafka_topic_partition_list_t* list) const {
    rd_kafka_topic_partition_list_destroy(list);
  }
  void operator()(rd_kafka_AdminOptions_t* options) const {
    rd_kafka_AdminOptions_destroy(options);
  }
  void operator()(rd_kafka_event_t* event) const { rd_kafka_event_destroy(event); }
};

template <typename T>
using Owned = std::unique_ptr<T, Destroy>;

inline Owned<rd_kafka_t> OpenClient(rd_kafka_type_t type, const Settings& settings) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  std::array<char, 512> reason{};
  for (const auto& [name, value] : settings) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), reason.data(), reason.size()) !=
        RD_KAFKA_CONF_OK) {
      rd_kafka_conf_destroy(conf);
      throw std::runtime_error(reason.data());
    }
  }
  rd_kafka_t* handle = rd_kafka_new(type, conf, reason.data(), reason.size());
  if (handle == nullptr) {
    rd_kafka_conf_destroy(conf);
    throw std::runtime_error(reason.data());
  }
  return Owned<rd_kafka_t>(handle);
}

// A consumer that joins `group`, subscribed to `topic`, reading from the beginning; nothing is
// stored for a commit but by rd_kafka_offsets_store.
inline Owned<rd_kafka_t> OpenConsumer(const std::string& brokers, const std::string& topic,
                                      const std::string& group) {
  Settings settings = FetchSettings();
  settings.insert(settings.end(), {{"bootstrap.servers", brokers},
                                   {"group.id", group},
                                   {"auto.offset.reset", "earliest"},
                                   {"enable.auto.offset.store", "false"}});
  Owned<rd_kafka_t> consumer = OpenClient(RD_KAFKA_CONSUMER, settings);
  rd_kafka_poll_set_consumer(consumer.get());
  const Owned<rd_kafka_topic_partition_list_t> topics(rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_list_add(topics.get(), topic.c_str(), RD_KAFKA_PARTITION_UA);
  Check(rd_kafka_subscribe(consumer.get(), topics.get()), "subscribing");
  return consumer;
}

}  // namespace once::benchmark
