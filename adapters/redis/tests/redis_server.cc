// A redis-server as a child, and the skip of all tests where there is none.
#include "adapters/redis/tests/redis_server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "adapters/redis/connection.h"
#include "once/abseil.h"

namespace once::redis::testing {
namespace {

constexpr std::chrono::seconds kStartPatience(20);
constexpr std::chrono::milliseconds kPause(5);

// Empty where there is none.
std::string FindProgram() {
  if (const char* const named = std::getenv("ONCE_REDIS_SERVER")) return named;
  const char* const path = std::getenv("PATH");
  for (const absl::string_view folder : absl::StrSplit(path == nullptr ? "" : path, ':')) {
    const std::string program = absl::StrCat(folder, "/redis-server");
    if (access(program.c_str(), X_OK) == 0) return program;
  }
  return "";
}

class ServerIsInstalled final : public ::testing::Environment {
 public:
  void SetUp() override {
    const std::string why_not = WhyNoServer();
    if (why_not.empty()) return;
    const char* const ci = std::getenv("CI");
    if (ci != nullptr && std::string_view(ci) == "true") FAIL() << why_not << ", and this is CI";
    GTEST_SKIP() << why_not;
  }
};

const auto* const server_is_installed = ::testing::AddGlobalTestEnvironment(new ServerIsInstalled);

Deadline In(std::chrono::seconds seconds) { return std::chrono::steady_clock::now() + seconds; }

// Between fork() and exec: system calls only.
[[noreturn]] void BecomeServer(char* const* arguments, int log, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  execv(arguments[0], arguments);
  _exit(127);
}

}  // namespace

RedisServer::RedisServer(std::vector<std::string> settings) : settings_(std::move(settings)) {
  Start();
}

void RedisServer::Start() {
  std::vector<std::string> words = {FindProgram(),
                                    "--port",
                                    "0",
                                    "--unixsocket",
                                    socket_path(),
                                    "--dir",
                                    folder_.path(),
                                    "--appendonly",
                                    "yes",
                                    "--appendfsync",
                                    "always",
                                    "--save",
                                    "",
                                    "--maxmemory-policy",
                                    "noeviction"};
  for (const std::string& setting : settings_) {
    for (const absl::string_view part : absl::StrSplit(absl::StrCat("--", setting), ' ')) {
      words.emplace_back(part);
    }
  }
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::filesystem::remove(socket_path());
  const int log = open(File("log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) BecomeServer(arguments.data(), log, parent);
  close(log);
  if (pid_ < 0) throw std::runtime_error("redis-server: fork");
  const Deadline deadline = In(kStartPatience);
  while (true) {
    try {
      const Reply pong = Ask({"PING"});
      if (!pong.is_error()) return;
    } catch (const std::runtime_error&) {
      if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
        pid_ = 0;
        throw std::runtime_error("redis-server ended at once; its log: " + File("log"));
      }
    }
    if (std::chrono::steady_clock::now() > deadline) {
      throw std::runtime_error("redis-server does not serve");
    }
    std::this_thread::sleep_for(kPause);
  }
}

void RedisServer::Kill() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

void RedisServer::Stop() const { kill(pid_, SIGSTOP); }

void RedisServer::Continue() const { kill(pid_, SIGCONT); }

Reply RedisServer::Ask(std::initializer_list<std::string_view> command) const {
  const ServerAddress address{.host = {}, .socket_path = socket_path(), .user = {}, .password = {}};
  auto connection = Connection::Open(address, nullptr, In(kStartPatience));
  if (!connection.ok()) throw std::runtime_error(connection.status().ToString());
  const std::string bytes = EncodeCommand(std::span(command.begin(), command.size()));
  auto replies = (*connection)->Run({&bytes, 1}, In(kStartPatience));
  if (!replies.ok()) throw std::runtime_error(replies.status().ToString());
  return std::move(replies->front());
}

std::string WhyNoServer() {
  return FindProgram().empty()
             ? "there is no redis-server (Debian: redis-server; or ONCE_REDIS_SERVER)"
             : "";
}

RedisServer& SharedServer() {
  static RedisServer server;
  return server;
}

std::string NewPrefix() {
  static std::atomic<int> count = 0;
  return absl::StrCat("test ", ++count, ":");
}

}  // namespace once::redis::testing
