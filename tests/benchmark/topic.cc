// Admin requests and an idempotent producer.
#include "tests/benchmark/topic.h"

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "once/sequence.h"
#include "tests/benchmark/client.h"
#include "tests/benchmark/workload.h"

namespace once::benchmark {
namespace {

constexpr int kAnswerMilliseconds = 30'000;
constexpr int kFlushMilliseconds = 120'000;

using Submit = std::function<void(rd_kafka_t*, rd_kafka_AdminOptions_t*, rd_kafka_queue_t*)>;
using Judge = std::function<void(rd_kafka_event_t*)>;

// Runs one admin request and shows its answer to `judge`.
void Ask(const std::string& brokers, rd_kafka_admin_op_t kind, const std::string& operation,
         const Submit& submit, const Judge& judge) {
  const Owned<rd_kafka_t> client = OpenClient(RD_KAFKA_PRODUCER, {{"bootstrap.servers", brokers}});
  const Owned<rd_kafka_AdminOptions_t> options(rd_kafka_AdminOptions_new(client.get(), kind));
  std::array<char, 256> reason{};
  rd_kafka_AdminOptions_set_operation_timeout(options.get(), kAnswerMilliseconds, reason.data(),
                                              reason.size());
  const Owned<rd_kafka_queue_t> queue(rd_kafka_queue_new(client.get()));
  submit(client.get(), options.get(), queue.get());
  const Owned<rd_kafka_event_t> event(rd_kafka_queue_poll(queue.get(), kAnswerMilliseconds));
  if (event == nullptr) throw std::runtime_error(operation + ": no answer from " + brokers);
  Check(rd_kafka_event_error(event.get()), operation);
  judge(event.get());
}

struct Reports {
  std::int64_t acknowledged = 0;
  rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
};

void NoteReport(rd_kafka_t* /*client*/, const rd_kafka_message_t* message, void* opaque) {
  Reports& reports = *static_cast<Reports*>(opaque);
  ++reports.acknowledged;
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) reports.error = message->err;
}

Owned<rd_kafka_t> OpenProducer(const std::string& brokers, Reports& reports) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  std::array<char, 512> reason{};
  const Settings settings = {{"bootstrap.servers", brokers},
                             {"enable.idempotence", "true"},
                             {"linger.ms", "20"},
                             {"queue.buffering.max.messages", "500000"}};
  for (const auto& [name, value] : settings) {
    rd_kafka_conf_set(conf, name.c_str(), value.c_str(), reason.data(), reason.size());
  }
  rd_kafka_conf_set_opaque(conf, &reports);
  rd_kafka_conf_set_dr_msg_cb(conf, &NoteReport);
  rd_kafka_t* handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason.data(), reason.size());
  if (handle == nullptr) throw std::runtime_error(reason.data());
  return Owned<rd_kafka_t>(handle);
}

void Send(rd_kafka_t* producer, rd_kafka_topic_t* topic, std::int64_t place,
          const std::string& stream) {
  const std::int64_t order = OrderAt(place);
  const std::string id = IdOf(order);
  std::string value = ValueOf(order);
  rd_kafka_error_t* error = nullptr;
  for (;;) {
    rd_kafka_headers_t* headers = rd_kafka_headers_new(2);
    rd_kafka_header_add(headers, kIdHeader, -1, id.data(), static_cast<ssize_t>(id.size()));
    if (!stream.empty()) {
      const std::string stamp = EncodeStamp(stream, NumberOf(order), true);
      rd_kafka_header_add(headers, kSequenceHeader.data(),
                          static_cast<ssize_t>(kSequenceHeader.size()), stamp.data(),
                          static_cast<ssize_t>(stamp.size()));
    }
    std::array<rd_kafka_vu_t, 5> fields{};
    fields[0].vtype = RD_KAFKA_VTYPE_RKT;
    fields[0].u.rkt = topic;
    fields[1].vtype = RD_KAFKA_VTYPE_PARTITION;
    fields[1].u.i32 = static_cast<std::int32_t>(place % kPartitions);
    fields[2].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    fields[2].u.i = RD_KAFKA_MSG_F_COPY;
    fields[3].vtype = RD_KAFKA_VTYPE_VALUE;
    fields[3].u.mem = {value.data(), value.size()};
    fields[4].vtype = RD_KAFKA_VTYPE_HEADERS;
    fields[4].u.headers = headers;
    error = rd_kafka_produceva(producer, fields.data(), fields.size());
    if (error == nullptr) return;
    rd_kafka_headers_destroy(headers);
    const rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    rd_kafka_error_destroy(error);
    if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) Check(code, "sending");
    rd_kafka_poll(producer, 10);
  }
}

}  // namespace

void CreateTopic(const std::string& brokers, const std::string& topic) {
  std::array<char, 256> reason{};
  constexpr int kReplicationDefault = -1;
  rd_kafka_NewTopic_t* wanted = rd_kafka_NewTopic_new(
      topic.c_str(), kPartitions, kReplicationDefault, reason.data(), reason.size());
  if (wanted == nullptr) throw std::runtime_error(reason.data());
  const std::string operation = "creating topic " + topic;
  const absl::Cleanup destroy = [wanted] { rd_kafka_NewTopic_destroy(wanted); };
  Ask(
      brokers, RD_KAFKA_ADMIN_OP_CREATETOPICS, operation,
      [&](rd_kafka_t* client, rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
        rd_kafka_CreateTopics(client, &wanted, 1, options, queue);
      },
      [&](rd_kafka_event_t* event) {
        std::size_t count = 0;
        const rd_kafka_topic_result_t** results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
        for (std::size_t i = 0; i < count; ++i) {
          Check(rd_kafka_topic_result_error(results[i]), operation);
        }
      });
}

void FillTopic(const std::string& brokers, const std::string& topic, std::int64_t messages,
               bool is_stamped) {
  Reports reports;
  const Owned<rd_kafka_t> producer = OpenProducer(brokers, reports);
  const Owned<rd_kafka_topic_t> object(rd_kafka_topic_new(producer.get(), topic.c_str(), nullptr));
  std::vector<std::string> streams(kPartitions);
  for (std::int32_t partition = 0; is_stamped && partition < kPartitions; ++partition) {
    streams[static_cast<std::size_t>(partition)] =
        StreamName(topic, partition, {.producer = "bench", .epoch = 1});
  }
  constexpr std::int64_t kPollEvery = 1000;
  for (std::int64_t place = 0; place < messages; ++place) {
    Send(producer.get(), object.get(), place,
         streams[static_cast<std::size_t>(place % kPartitions)]);
    if (place % kPollEvery == 0) rd_kafka_poll(producer.get(), 0);
  }
  rd_kafka_flush(producer.get(), kFlushMilliseconds);
  Check(reports.error, "sending");
  if (reports.acknowledged != messages) {
    throw std::runtime_error("sending: " + std::to_string(reports.acknowledged) + " of " +
                             std::to_string(messages) + " messages were acknowledged");
  }
}

void DeleteTopic(const std::string& brokers, const std::string& topic) {
  rd_kafka_DeleteTopic_t* unwanted = rd_kafka_DeleteTopic_new(topic.c_str());
  const absl::Cleanup destroy = [unwanted] { rd_kafka_DeleteTopic_destroy(unwanted); };
  Ask(
      brokers, RD_KAFKA_ADMIN_OP_DELETETOPICS, "deleting topic " + topic,
      [&](rd_kafka_t* client, rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
        rd_kafka_DeleteTopics(client, &unwanted, 1, options, queue);
      },
      [](rd_kafka_event_t*) {});
}

}  // namespace once::benchmark
