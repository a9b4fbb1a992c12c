// RunUntilSignal: a thread-free bridge from SIGINT and SIGTERM to a stop token. The handler only
// writes to a pipe; a task reads it and requests the stop.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <stop_token>
#include <string>

#include "once/consumer.h"

namespace once {
namespace {

constexpr std::array<int, 2> kSignals = {SIGINT, SIGTERM};

// The write end of the pipe, for the signal handler; -1 while nobody listens.
std::atomic<int> signal_pipe = -1;

void WriteSignal(int number) {
  const int saved_errno = errno;
  // A second signal ends the process the default way: whoever sends it does not want to wait.
  signal(number, SIG_DFL);
  const char byte = 's';
  [[maybe_unused]] const ssize_t written = write(signal_pipe.load(), &byte, 1);
  errno = saved_errno;
}

}  // namespace

absl::Status RunUntilSignal(Consumer& consumer) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    return absl::InternalError(std::string("signal pipe: ") + std::strerror(errno));
  }
  signal_pipe = ends[1];
  std::array<struct sigaction, kSignals.size()> former{};
  struct sigaction action = {};
  action.sa_handler = WriteSignal;
  for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &action, &former[i]);

  std::stop_source stop;
  absl::Status status;
  {
    const std::unique_ptr<Task> listener = SystemExecutor()->Spawn("once-signals", [&] {
      char byte = 0;
      while (read(ends[0], &byte, 1) < 0 && errno == EINTR) {
      }
      stop.request_stop();
    });
    status = consumer.Run(stop.get_token());
    for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &former[i], nullptr);
    signal_pipe = -1;
    close(ends[1]);  // end of file: the listener returns, also without a signal
  }
  close(ends[0]);
  return status;
}

}  // namespace once
