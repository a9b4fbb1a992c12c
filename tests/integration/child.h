// A consuming child process that a test kills: it reports progress through a pipe.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace once::testing {

constexpr int kProgressPipe = 3;  // the descriptor under which a child finds its pipe

// Set in a child's environment, beside what it inherits.
using Environment = std::vector<std::pair<std::string, std::string>>;

// A fork has a copy of every open file, and with it of the file's lock, until its exec. Whoever
// opens and closes a store while other threads start children holds this, shared, as long as it is
// open.
inline std::shared_mutex& ForkMutex() {
  static std::shared_mutex mutex;
  return mutex;
}

// This very program, started again as `--consume ARGUMENT…`. It goes with the object.
class Child {
 public:
  explicit Child(const std::vector<std::string>& arguments, const Environment& environment = {}) {
    std::array<int, 2> ends{};
    std::array<int, 2> until_exec{};
    const std::lock_guard no_store_is_open(ForkMutex());
    if (pipe2(ends.data(), O_CLOEXEC) != 0 || pipe2(until_exec.data(), O_CLOEXEC) != 0) {
      throw std::runtime_error("pipe2");
    }
    std::vector<char*> argv = {const_cast<char*>("child"), const_cast<char*>("--consume")};
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
      dup2(ends[1], kProgressPipe);
      execv("/proc/self/exe", argv.data());
      _exit(127);
    }
    close(ends[1]);
    close(until_exec[1]);
    char nothing = 0;
    while (read(until_exec[0], &nothing, 1) < 0 && errno == EINTR) {
    }
    close(until_exec[0]);
    pipe_ = ends[0];
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) End(SIGKILL);
    close(pipe_);
  }

  // True after `beats` beats; false when none came for `patience`, or the child has died.
  bool WaitForBeats(int beats, absl::Duration patience) {
    for (int i = 0; i < beats; ++i) {
      pollfd ready{.fd = pipe_, .events = POLLIN, .revents = 0};
      char beat = 0;
      if (poll(&ready, 1, static_cast<int>(absl::ToInt64Milliseconds(patience))) <= 0) return false;
      if (read(pipe_, &beat, 1) != 1) return false;
    }
    return true;
  }

  // The wait status of a child that has ended by itself; nullopt while it runs.
  std::optional<int> Ended() {
    int status = 0;
    if (pid_ > 0 && waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
    pid_ = -1;
    return status;
  }

  // The same, after waiting for it; beats that come meanwhile are dropped.
  std::optional<int> AwaitEnd(absl::Duration patience) {
    const absl::Time deadline = absl::Now() + patience;
    pollfd ready{.fd = pipe_, .events = POLLIN, .revents = 0};
    std::array<char, 4096> beats{};
    for (absl::Duration left = patience; left > absl::ZeroDuration();
         left = deadline - absl::Now()) {
      if (poll(&ready, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1) <= 0) continue;
      if (read(pipe_, beats.data(), beats.size()) > 0) continue;
      // The pipe is closed: it has ended, or is about to.
      int status = 0;
      waitpid(pid_, &status, 0);
      pid_ = -1;
      return status;
    }
    return std::nullopt;
  }

  // REQUIRES: it has not Ended().
  void Send(int signal) const { kill(pid_, signal); }

  // The wait status. REQUIRES: it has not Ended().
  int End(int signal) {
    int status = 0;
    kill(pid_, signal);
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_ = -1;
  int pipe_ = -1;
};

}  // namespace once::testing
