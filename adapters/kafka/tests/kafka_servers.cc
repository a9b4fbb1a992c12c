// The processes behind KafkaServers: formatted, started, killed, stopped.
#include "adapters/kafka/tests/kafka_servers.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <random>
#include <stdexcept>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace once::kafka::testing {
namespace {

constexpr const char* kJarsVariable = "ONCE_TEST_KAFKA_JARS";
constexpr absl::Duration kStartPatience = absl::Minutes(2);
constexpr int kReplicasInSyncMin = 2;

// No two of them are the same: all are held until the last one is found.
std::vector<int> FindFreePorts(std::size_t count) {
  std::vector<int> files;
  std::vector<int> ports;
  while (ports.size() < count) {
    const int file = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    files.push_back(file);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    if (bind(file, generic, size) != 0 || getsockname(file, generic, &size) != 0) {
      throw std::runtime_error("no free port for a broker");
    }
    ports.push_back(ntohs(address.sin_port));
  }
  for (const int file : files) close(file);
  return ports;
}

// As Kafka writes a UUID: 22 characters. The first one must not look like a flag.
std::string DrawClusterId() {
  std::random_device random;
  std::string bytes;
  for (int i = 0; i < 16; ++i) bytes.push_back(static_cast<char>(random()));
  std::string id = absl::WebSafeBase64Escape(bytes).substr(0, 22);
  id[0] = 'o';
  return id;
}

// The JVM as the broker of the tests has it: a broker lives for minutes.
std::vector<std::string> JavaCommand(std::initializer_list<std::string> arguments) {
  std::vector<std::string> command = {
      "java",
      "-Xmx512m",
      "-XX:+UseSerialGC",
      "-XX:TieredStopAtLevel=1",
      "-cp",
      absl::StrCat(std::getenv(kJarsVariable), "/*"),
      "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config.AbstractConfig=warn",
      "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaConfig=warn"};
  command.insert(command.end(), arguments);
  return command;
}

pid_t StartProgram(const std::vector<std::string>& command, const std::string& log) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  const int output = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    // Other threads may hold any lock there is: nothing here takes one.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);
    setsid();  // Ctrl-C is for whoever has started it
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execvp(words[0], words.data());
    _exit(127);
  }
  close(output);
  return pid;
}

std::string ReadAll(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string Tail(const std::string& text) {
  constexpr std::size_t kShown = 4000;
  return text.size() <= kShown ? text : text.substr(text.size() - kShown);
}

}  // namespace

std::string WhyNoKafkaServers() {
  if (std::getenv(kJarsVariable) == nullptr) {
    return absl::StrCat("it needs brokers of its own: ", kJarsVariable,
                        " is not set; ./dev campaign sets it where there is a JDK");
  }
  const char* const path = std::getenv("PATH");
  const std::vector<std::string> folders = absl::StrSplit(path == nullptr ? "" : path, ':');
  for (const std::string& folder : folders) {
    if (access((folder + "/java").c_str(), X_OK) == 0) return "";
  }
  return "it needs brokers of its own, and there is no java on the path";
}

KafkaServers::KafkaServers(int count) {
  if (const std::string why_not = WhyNoKafkaServers(); !why_not.empty()) {
    throw std::runtime_error(why_not);
  }
  const std::vector<int> ports = FindFreePorts(2 * static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    servers_.push_back({.folder = folder_.File(absl::StrCat("broker-", i)),
                        .client_port = ports[2 * i],
                        .controller_port = ports[2 * i + 1]});
  }
  const std::string id = DrawClusterId();
  std::vector<pid_t> formatting;
  for (int i = 0; i < count; ++i) {
    const std::string& folder = At(i).folder;
    std::filesystem::create_directory(folder);
    WriteProperties(i);
    formatting.push_back(
        StartProgram(JavaCommand({"kafka.tools.StorageTool", "format", "--cluster-id", id,
                                  "--config", folder + "/server.properties"}),
                     folder + "/format"));
  }
  for (std::size_t i = 0; i < formatting.size(); ++i) {
    int status = 0;
    waitpid(formatting[i], &status, 0);
    if (status != 0) {
      throw std::runtime_error("a broker's folder cannot be made: " +
                               Tail(ReadAll(servers_[i].folder + "/format")));
    }
  }
  for (Server& server : servers_) Launch(server);
  for (Server& server : servers_) AwaitService(server);
}

KafkaServers::~KafkaServers() {
  for (Server& server : servers_) {
    if (server.pid == 0) continue;
    kill(server.pid, SIGKILL);
    waitpid(server.pid, nullptr, 0);
  }
}

std::string KafkaServers::addresses() const {
  return absl::StrJoin(servers_, ",", [](std::string* out, const Server& server) {
    absl::StrAppend(out, "127.0.0.1:", server.client_port);
  });
}

std::vector<std::pair<std::string, std::string>> KafkaServers::ListFiles(
    const std::string& topic) const {
  std::vector<std::pair<std::string, std::string>> files;
  const auto list = [&files](const std::string& folder, const std::string& server,
                             const std::vector<std::string>& beginnings, std::string_view end) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      for (const std::string& beginning : beginnings) {
        if (!name.starts_with(beginning) || !name.ends_with(end)) continue;
        files.emplace_back(entry.path().string(), absl::StrCat(server, "-", name));
      }
    }
  };
  for (const Server& server : servers_) {
    const std::string name = std::filesystem::path(server.folder).filename().string();
    list(server.folder, name, {"log-"}, "");
    list(server.folder + "/data", name, {topic + "-"}, "");
    list(server.folder + "/data", name, {""}, "-checkpoint");
  }
  return files;
}

void KafkaServers::WriteProperties(int server) const {
  const Server& own = At(server);
  std::string voters;
  for (int i = 0; i < count(); ++i) {
    absl::StrAppend(&voters, i == 0 ? "" : ",", i + 1, "@127.0.0.1:", At(i).controller_port);
  }
  const int in_sync = std::min(count(), kReplicasInSyncMin);
  std::ofstream(own.folder + "/server.properties")
      << "process.roles=broker,controller\nnode.id=" << server + 1
      << "\ncontroller.quorum.voters=" << voters
      << "\nlisteners=CLIENTS://127.0.0.1:" << own.client_port
      << ",CONTROLLER://127.0.0.1:" << own.controller_port
      << "\nadvertised.listeners=CLIENTS://127.0.0.1:" << own.client_port
      << "\nlistener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT"
      << "\ninter.broker.listener.name=CLIENTS\ncontroller.listener.names=CONTROLLER\nlog.dirs="
      << own.folder
      << "/data\nauto.create.topics.enable=false\ndefault.replication.factor=" << count()
      << "\nmin.insync.replicas=" << in_sync << "\noffsets.topic.replication.factor=" << count()
      << "\ntransaction.state.log.replication.factor=" << count()
      << "\ntransaction.state.log.min.isr=" << in_sync
      << "\nshare.coordinator.state.topic.replication.factor=" << count()
      << "\nshare.coordinator.state.topic.min.isr=" << in_sync
      << "\noffsets.topic.num.partitions=3\ntransaction.state.log.num.partitions=3"
      << "\nshare.coordinator.state.topic.num.partitions=1\ngroup.initial.rebalance.delay.ms=0"
      << "\ngroup.min.session.timeout.ms=1000\nlog.cleaner.dedupe.buffer.size=16777216"
      << "\nnum.network.threads=2\nnum.io.threads=2\n";
}

std::string KafkaServers::LogOf(const Server& server) const {
  return absl::StrCat(server.folder, "/log-", server.starts);
}

void KafkaServers::Launch(Server& server) {
  ++server.starts;
  server.pid = StartProgram(JavaCommand({"kafka.Kafka", server.folder + "/server.properties"}),
                            LogOf(server));
}

void KafkaServers::AwaitService(Server& server) {
  const absl::Time deadline = absl::Now() + kStartPatience;
  while (ReadAll(LogOf(server)).find("Kafka Server started") == std::string::npos) {
    const bool has_ended = waitpid(server.pid, nullptr, WNOHANG) == server.pid;
    if (has_ended) server.pid = 0;
    if (has_ended || absl::Now() > deadline) {
      throw std::runtime_error("a broker does not start: " + Tail(ReadAll(LogOf(server))));
    }
    absl::SleepFor(absl::Milliseconds(50));
  }
}

void KafkaServers::Kill(int server) {
  Server& killed = At(server);
  kill(killed.pid, SIGKILL);
  waitpid(killed.pid, nullptr, 0);
  killed.pid = 0;
}

void KafkaServers::Start(int server) {
  Launch(At(server));
  AwaitService(At(server));
}

void KafkaServers::Freeze(int server) const { kill(At(server).pid, SIGSTOP); }

void KafkaServers::Thaw(int server) const { kill(At(server).pid, SIGCONT); }

}  // namespace once::kafka::testing
