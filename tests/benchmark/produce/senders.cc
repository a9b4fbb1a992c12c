// librdkafka by hand, and once::Producer.
#include "tests/benchmark/produce/senders.h"

#include <atomic>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "once/kafka/record_client.h"
#include "once/producer.h"
#include "once/sequence.h"
#include "tests/benchmark/client.h"
#include "tests/benchmark/stopwatch.h"
#include "tests/benchmark/workload.h"

namespace once::benchmark {
namespace {

const int kFlushMilliseconds = static_cast<int>(kFlushTime / absl::Milliseconds(1));

// The order's number in front of bytes that are always the same: cheap to make, for all.
std::string ShortValueOf(std::int64_t order) {
  std::string value(kValueBytes, 'x');
  for (std::size_t i = kOrderDigits; i-- > 0; order /= 10) {
    value[i] = static_cast<char>('0' + order % 10);
  }
  return value;
}

struct Reports {
  std::int64_t acknowledged = 0;
  rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
};

Owned<rd_kafka_t> OpenRaw(const SendTask& task, Reports& reports) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  std::array<char, 512> reason{};
  const Settings settings = {{"bootstrap.servers", task.brokers},
                             {"enable.idempotence", "true"},
                             {"acks", "all"},
                             {"linger.ms", std::to_string(kLinger / absl::Milliseconds(1))},
                             {"queue.buffering.max.messages", std::to_string(task.room)}};
  for (const auto& [name, value] : settings) {
    rd_kafka_conf_set(conf, name.c_str(), value.c_str(), reason.data(), reason.size());
  }
  rd_kafka_conf_set_opaque(conf, &reports);
  rd_kafka_conf_set_dr_msg_cb(
      conf, +[](rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
        Reports& noted = *static_cast<Reports*>(opaque);
        ++noted.acknowledged;
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) noted.error = message->err;
      });
  rd_kafka_t* handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason.data(), reason.size());
  if (handle == nullptr) throw std::runtime_error(reason.data());
  return Owned<rd_kafka_t>(handle);
}

// The names of the streams, by partition; empty: no stamps.
using Streams = std::vector<std::string>;

void AddStampByHand(rd_kafka_headers_t* headers, const Streams& streams, std::int64_t place) {
  char buffer[kStampBytesMax];
  const std::string_view stamp =
      EncodeStamp(streams[static_cast<std::size_t>(place % kPartitions)],
                  static_cast<std::uint64_t>(place / kPartitions + 1), false, buffer);
  rd_kafka_header_add(headers, kSequenceHeader.data(), static_cast<ssize_t>(kSequenceHeader.size()),
                      stamp.data(), static_cast<ssize_t>(stamp.size()));
}

void SendOneRaw(rd_kafka_t* producer, rd_kafka_topic_t* topic, std::int64_t place,
                const Streams& streams) {
  const std::string id = IdOf(place);
  const std::string value = ShortValueOf(place);
  while (true) {
    rd_kafka_headers_t* headers = rd_kafka_headers_new(streams.empty() ? 1 : 2);
    rd_kafka_header_add(headers, kIdHeader, -1, id.data(), static_cast<ssize_t>(id.size()));
    if (!streams.empty()) AddStampByHand(headers, streams, place);
    std::array<rd_kafka_vu_t, 5> fields{};
    fields[0].vtype = RD_KAFKA_VTYPE_RKT;
    fields[0].u.rkt = topic;
    fields[1].vtype = RD_KAFKA_VTYPE_PARTITION;
    fields[1].u.i32 = static_cast<std::int32_t>(place % kPartitions);
    fields[2].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    fields[2].u.i = RD_KAFKA_MSG_F_COPY;
    fields[3].vtype = RD_KAFKA_VTYPE_VALUE;
    fields[3].u.mem = {const_cast<char*>(value.data()), value.size()};
    fields[4].vtype = RD_KAFKA_VTYPE_HEADERS;
    fields[4].u.headers = headers;
    rd_kafka_error_t* error = rd_kafka_produceva(producer, fields.data(), fields.size());
    if (error == nullptr) return;
    rd_kafka_headers_destroy(headers);
    const rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    rd_kafka_error_destroy(error);
    if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) Check(code, "sending");
    rd_kafka_poll(producer, 10);
  }
}

std::unique_ptr<Producer> OpenProducer(const SendTask& task, Stamping stamping) {
  auto producer = Producer::Create(
      {.clients = kafka::RecordClients({.brokers = task.brokers, .linger = kLinger}),
       .ids = {.header = kIdHeader, .is_drawn = false},
       .stamps = {.mode = stamping,
                  .producer = "bench",
                  .create_marks_topic = kafka::MarksTopics({.brokers = task.brokers})},
       .limits = {.messages_max = static_cast<std::size_t>(task.room)}});
  if (!producer.ok()) throw std::runtime_error(producer.status().ToString());
  return *std::move(producer);
}

double SendWithCallbacks(const SendTask& task, Stamping stamping) {
  std::atomic<std::int64_t> acknowledged = 0;
  const auto producer = OpenProducer(task, stamping);
  Stopwatch stopwatch;
  stopwatch.Start();
  for (std::int64_t place = 0; place < task.messages; ++place) {
    producer->Send(MessageAt(task, place), [&acknowledged](const SendOutcome& outcome) {
      if (outcome.status.ok()) acknowledged.fetch_add(1, std::memory_order_relaxed);
    });
  }
  const absl::Time deadline = absl::Now() + kFlushTime;
  while (acknowledged != task.messages && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  const double seconds = stopwatch.seconds();
  if (producer->Close(deadline).count > 0 || acknowledged != task.messages) {
    throw std::runtime_error("sending: " + std::to_string(acknowledged.load()) + " of " +
                             std::to_string(task.messages) + " messages were acknowledged");
  }
  return seconds;
}

}  // namespace

OutgoingMessage MessageAt(const SendTask& task, std::int64_t place) {
  OutgoingMessage message{.topic = task.topic,
                          .partition = static_cast<std::int32_t>(place % kPartitions),
                          .key = std::nullopt,
                          .value = ShortValueOf(place),
                          .headers = {}};
  message.headers.push_back({kIdHeader, IdOf(place)});
  return message;
}

namespace {

double SendByHand(const SendTask& task, const Streams& streams) {
  Reports reports;
  const Owned<rd_kafka_t> producer = OpenRaw(task, reports);
  const Owned<rd_kafka_topic_t> topic(
      rd_kafka_topic_new(producer.get(), task.topic.c_str(), nullptr));
  constexpr std::int64_t kPollEvery = 1000;
  Stopwatch stopwatch;
  stopwatch.Start();
  for (std::int64_t place = 0; place < task.messages; ++place) {
    SendOneRaw(producer.get(), topic.get(), place, streams);
    if (place % kPollEvery == 0) rd_kafka_poll(producer.get(), 0);
  }
  rd_kafka_flush(producer.get(), kFlushMilliseconds);
  const double seconds = stopwatch.seconds();
  Check(reports.error, "sending");
  if (reports.acknowledged != task.messages) throw std::runtime_error("sending: no answer");
  return seconds;
}

}  // namespace

double SendRaw(const SendTask& task) { return SendByHand(task, {}); }
double SendRawStamped(const SendTask& task) {
  Streams streams;
  for (std::int32_t partition = 0; partition < kPartitions; ++partition) {
    streams.push_back(StreamName(task.topic, partition, {.producer = "bench", .epoch = 1}));
  }
  return SendByHand(task, streams);
}

double SendUnstamped(const SendTask& task) { return SendWithCallbacks(task, Stamping::kOff); }
double SendStamped(const SendTask& task) { return SendWithCallbacks(task, Stamping::kOn); }

double SendWithTickets(const SendTask& task) {
  const auto producer = OpenProducer(task, Stamping::kOn);
  const absl::Time deadline = absl::Now() + kFlushTime;
  std::deque<Ticket> tickets;
  const auto look = [&] {
    const SendOutcome* outcome = tickets.front().Wait(deadline);
    if (outcome == nullptr || !outcome->status.ok()) throw std::runtime_error("sending: no OK");
    tickets.pop_front();
  };
  Stopwatch stopwatch;
  stopwatch.Start();
  for (std::int64_t place = 0; place < task.messages; ++place) {
    tickets.push_back(producer->Send(MessageAt(task, place)));
    while (!tickets.empty() && tickets.front().is_done()) look();
  }
  while (!tickets.empty()) look();
  return stopwatch.seconds();
}

std::string FindWrongRecords(const SendTask& task, bool is_stamped) {
  constexpr int kWaitMilliseconds = 20'000;
  const Owned<rd_kafka_t> consumer = OpenConsumer(task.brokers, task.topic, task.topic + "-check");
  std::vector<bool> is_there(static_cast<std::size_t>(task.messages));
  std::vector<std::uint64_t> numbers(kPartitions);
  std::string wrong;
  std::int64_t taken = 0;
  for (; taken < task.messages && wrong.empty(); ++taken) {
    rd_kafka_message_t* message = rd_kafka_consumer_poll(consumer.get(), kWaitMilliseconds);
    if (message == nullptr) break;
    const std::string_view value(static_cast<const char*>(message->payload), message->len);
    const auto place = ParseOrder(value);
    rd_kafka_headers_t* headers = nullptr;
    const void* bytes = nullptr;
    std::size_t size = 0;
    const bool has_stamp =
        rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR &&
        rd_kafka_header_get_last(headers, kSequenceHeader.data(), &bytes, &size) ==
            RD_KAFKA_RESP_ERR_NO_ERROR;
    const auto stamp = has_stamp ? DecodeStamp({static_cast<const char*>(bytes), size}, task.topic,
                                               message->partition)
                                 : std::nullopt;
    if (!place || *place >= task.messages || is_there[static_cast<std::size_t>(*place)]) {
      wrong = "a message that was not sent, or twice";
    } else if (is_stamped !=
               (stamp &&
                stamp->sequence == ++numbers[static_cast<std::size_t>(message->partition)])) {
      wrong = "a stamp that is wrong or missing";
    } else {
      is_there[static_cast<std::size_t>(*place)] = true;
    }
    rd_kafka_message_destroy(message);
  }
  rd_kafka_consumer_close(consumer.get());
  if (wrong.empty() && taken < task.messages) wrong = "messages are missing";
  return wrong;
}

}  // namespace once::benchmark
