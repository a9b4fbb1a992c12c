// posix_spawn, a pipe and wait4.
#include "tests/benchmark/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "absl/cleanup/cleanup.h"

namespace once::benchmark {
namespace {

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

pid_t Spawn(std::vector<std::string> words, int output) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  const absl::Cleanup destroy = [&] { posix_spawn_file_actions_destroy(&actions); };
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  pid_t pid = -1;
  const int error =
      posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, pointers.data(), environ);
  if (error != 0) throw std::runtime_error(std::string("starting a process: ") + strerror(error));
  return pid;
}

std::string ReadToEnd(int descriptor) {
  std::string text;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t count = read(descriptor, buffer.data(), buffer.size());
    if (count > 0) {
      text.append(buffer.data(), static_cast<std::size_t>(count));
    } else if (count == 0 || errno != EINTR) {
      return text;
    }
  }
}

}  // namespace

ChildResult RunSelf(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {"once_bench"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  pid_t pid = -1;
  {
    const absl::Cleanup close_writing = [&] { close(ends[1]); };
    pid = Spawn(std::move(words), ends[1]);
  }
  ChildResult result{.output = ReadToEnd(ends[0])};
  close(ends[0]);
  int status = 0;
  rusage usage{};
  while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    const std::string how = WIFSIGNALED(status)
                                ? "was ended by " + std::string(strsignal(WTERMSIG(status)))
                                : "ended with " + std::to_string(WEXITSTATUS(status));
    throw std::runtime_error("`" + arguments.front() + "` " + how);
  }
  constexpr double kKilobytesPerMegabyte = 1024;
  result.cpu_seconds = Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
  result.peak_mb = static_cast<double>(usage.ru_maxrss) / kKilobytesPerMegabyte;
  return result;
}

void LimitChild() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  alarm(kChildSeconds);
}

}  // namespace once::benchmark
