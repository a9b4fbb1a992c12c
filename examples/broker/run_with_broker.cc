// Runs an example against a broker that needs no installation, for ctest:
//
//   run_with_broker PROGRAM GROUP LETTERS
//
// starts librdkafka's mock cluster, sends a few payments to the topic payments, starts PROGRAM with
// the broker's address, waits until the consumer group GROUP has settled everything, ends the
// program with SIGTERM and looks whether it ended well and left LETTERS dead letters. Exits with 0
// if so.
//
//   run_with_broker PROGRAM MESSAGES [unmarked]
//
// is for an example that sends: it must end by itself, with 0, and leave MESSAGES payments and at
// least one mark, or none where it says so.
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <once/kafka/publisher.h>
#include <once/once.h>
#include <once/sequence.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr const char* kTopic = "payments";
constexpr int kTimeoutMilliseconds = 5'000;
constexpr std::chrono::seconds kPatience{40};

[[noreturn]] void Fail(const std::string& why) {
  std::fprintf(stderr, "run_with_broker: %s\n", why.c_str());
  std::exit(1);
}

rd_kafka_t* OpenClient(const std::string& brokers, const std::string& group) {
  char reason[512];
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "bootstrap.servers", brokers.c_str(), reason, sizeof(reason));
  rd_kafka_conf_set(conf, "group.id", group.c_str(), reason, sizeof(reason));
  rd_kafka_t* client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof(reason));
  if (client == nullptr) Fail(reason);
  return client;
}

void SendPayments(const std::string& brokers) {
  std::vector<once::OutgoingMessage> payments;
  const auto add = [&](const std::string& id, const std::string& amount) {
    payments.push_back({.topic = kTopic,
                        .partition = 0,
                        .key = id,
                        .value = amount,
                        .headers = {{.name = "payment-id", .value = id}}});
  };
  add("p1", "12.50");
  add("p2", "8.00");
  add("p1", "12.50");  // a duplicate
  add("p3", "-3.00");
  add("p4", "0.00");
  const auto publisher = once::kafka::OpenPublisher({.brokers = brokers});
  if (!publisher.ok()) Fail(publisher.status().ToString());
  std::vector<absl::Status> outcomes(payments.size(), absl::UnknownError("not published"));
  (*publisher)->Publish(payments, absl::Now() + absl::Seconds(10), outcomes);
  for (const absl::Status& outcome : outcomes) {
    if (!outcome.ok()) Fail(outcome.ToString());
  }
}

std::int64_t EndOf(rd_kafka_t* client, const std::string& topic) {
  std::int64_t low = 0;
  std::int64_t high = -1;
  rd_kafka_query_watermark_offsets(client, topic.c_str(), 0, &low, &high, kTimeoutMilliseconds);
  return high;
}

std::int64_t CommittedOf(rd_kafka_t* client) {
  rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(list, kTopic, 0);
  rd_kafka_committed(client, list, kTimeoutMilliseconds);
  const std::int64_t offset = list->elems[0].offset;
  rd_kafka_topic_partition_list_destroy(list);
  return offset;
}

pid_t StartProgram(char* program, std::string brokers) {
  char* arguments[] = {program, brokers.data(), nullptr};
  pid_t pid = -1;
  if (posix_spawn(&pid, program, nullptr, nullptr, arguments, environ) != 0)
    Fail("cannot start it");
  return pid;
}

// True when it ends by itself, with 0.
bool AwaitProgram(pid_t pid) {
  int status = -1;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// The same after SIGTERM.
bool StopProgram(pid_t pid) {
  kill(pid, SIGTERM);
  return AwaitProgram(pid);
}

template <typename Condition>
bool WaitFor(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return true;
}

void RunConsumer(char** argv, const std::string& brokers) {
  const std::string group = argv[2];
  const std::string letters = once::DefaultDeadLetterTopic(kTopic, group);
  rd_kafka_t* client = OpenClient(brokers, group);
  SendPayments(brokers);
  const std::int64_t end = EndOf(client, kTopic);
  const pid_t program = StartProgram(argv[1], brokers);
  const bool is_settled = WaitFor([&] { return CommittedOf(client) == end; });
  const bool has_letters = WaitFor([&] { return EndOf(client, letters) == std::atoi(argv[3]); });
  const bool is_stopped = StopProgram(program);
  rd_kafka_destroy(client);
  if (!is_settled) Fail("the example did not settle every message");
  if (!has_letters) Fail("the example left another number of dead letters");
  if (!is_stopped) Fail("the example did not end in order");
}

void RunSender(char** argv, const std::string& brokers, bool is_marked) {
  if (!AwaitProgram(StartProgram(argv[1], brokers))) Fail("the example did not end well");
  rd_kafka_t* client = OpenClient(brokers, "readers");
  const std::int64_t payments = EndOf(client, kTopic);
  const std::int64_t marks = EndOf(client, once::MarksTopic(kTopic));
  rd_kafka_destroy(client);
  if (payments != std::atoi(argv[2])) Fail("the example left another number of payments");
  if (is_marked && marks < 1) Fail("the example left no mark");
  if (!is_marked && marks > 0) Fail("the example left marks");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) {
    Fail("usage: run_with_broker PROGRAM GROUP LETTERS | MESSAGES [unmarked]");
  }
  const bool is_unmarked = argc == 4 && std::string(argv[3]) == "unmarked";
  const bool is_sender = argc == 3 || is_unmarked;
  char reason[512];
  rd_kafka_t* host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), reason, sizeof(reason));
  rd_kafka_mock_cluster_t* cluster = rd_kafka_mock_cluster_new(host, 1);
  // The mock cannot create topics by request.
  const std::string beside =
      is_sender ? once::MarksTopic(kTopic) : once::DefaultDeadLetterTopic(kTopic, argv[2]);
  rd_kafka_mock_topic_create(cluster, kTopic, 1, 1);
  rd_kafka_mock_topic_create(cluster, beside.c_str(), 1, 1);
  const std::string brokers = rd_kafka_mock_cluster_bootstraps(cluster);
  if (is_sender) {
    RunSender(argv, brokers, !is_unmarked);
  } else {
    RunConsumer(argv, brokers);
  }
  rd_kafka_mock_cluster_destroy(cluster);
  rd_kafka_destroy(host);
  return 0;
}
