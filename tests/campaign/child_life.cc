// Beats, logs and signals of the processes of campaigns.
#include "tests/campaign/child_life.h"

#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <stdexcept>

#include "tests/integration/child.h"

namespace once::campaign {

void Beat() { [[maybe_unused]] const ssize_t written = write(testing::kProgressPipe, ".", 1); }

std::shared_ptr<LogSink> OpenLog(const std::string& path) {
  std::FILE* const file = std::fopen(path.c_str(), "ae");
  if (file == nullptr) throw std::runtime_error("cannot open " + path);
  std::setvbuf(file, nullptr, _IOLBF, 0);
  return JsonLog(LogLevel::kInfo, file);
}

LineFile::LineFile(const std::string& path)
    : file_(open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)) {
  if (file_ < 0) throw std::runtime_error("cannot append to " + path);
}

LineFile::~LineFile() { close(file_); }

void LineFile::Append(const std::string& line) const {
  const std::string whole = line + "\n";
  if (write(file_, whole.data(), whole.size()) != static_cast<ssize_t>(whole.size())) _exit(3);
}

StopSignal::StopSignal() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
}

bool StopSignal::Await(int milliseconds) const {
  const timespec pause{.tv_sec = milliseconds / 1000,
                       .tv_nsec = static_cast<long>(milliseconds % 1000) * 1'000'000};
  return sigtimedwait(&signals_, nullptr, &pause) == SIGTERM;
}

}  // namespace once::campaign
