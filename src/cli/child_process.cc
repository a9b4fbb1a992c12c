// posix_spawn, waitpid and the parent-death signal.
#include "src/cli/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace once::demo {
namespace {

constexpr absl::Duration kWaitStep = absl::Milliseconds(1);

}  // namespace

std::string ToString(const ChildExit& exit) {
  if (exit.signal == 0) return absl::StrCat("exit code ", exit.code);
  return absl::StrCat("signal ", exit.signal, " (", strsignal(exit.signal), ")");
}

absl::StatusOr<ChildProcess> ChildProcess::Start(const std::vector<std::string>& arguments,
                                                 const Descriptors& descriptors) {
  std::vector<std::string> words = {"once"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  const absl::Cleanup destroy = [&] { posix_spawn_file_actions_destroy(&actions); };
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, descriptors.output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, descriptors.output, STDERR_FILENO);
  posix_spawn_file_actions_adddup2(&actions, descriptors.shared, kSharedDescriptor);
  // Above all the sockets of an embedded broker: a child that holds them keeps connections alive.
  posix_spawn_file_actions_addclosefrom_np(&actions, kSharedDescriptor + 1);
  pid_t pid = -1;
  const int error =
      posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, pointers.data(), environ);
  if (error != 0) {
    return absl::InternalError(absl::StrCat("starting a process: ", std::strerror(error)));
  }
  return ChildProcess(pid);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(pid_, other.pid_);
  return *this;
}

ChildProcess::~ChildProcess() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void ChildProcess::Signal(int signal) const {
  if (pid_ > 0) kill(pid_, signal);
}

std::optional<ChildExit> ChildProcess::TryWait() {
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  pid_ = -1;
  if (WIFSIGNALED(status)) return ChildExit{.signal = WTERMSIG(status)};
  return ChildExit{.code = WEXITSTATUS(status)};
}

std::optional<ChildExit> ChildProcess::WaitUntil(absl::Time deadline) {
  for (;;) {
    if (std::optional<ChildExit> exit = TryWait()) return exit;
    if (absl::Now() >= deadline) return std::nullopt;
    absl::SleepFor(kWaitStep);
  }
}

absl::Status EndWithParent(pid_t parent) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
    return absl::InternalError(absl::StrCat("PR_SET_PDEATHSIG: ", std::strerror(errno)));
  }
  // It may have ended before the call.
  return getppid() == parent ? absl::OkStatus() : absl::CancelledError("the parent has ended");
}

}  // namespace once::demo
