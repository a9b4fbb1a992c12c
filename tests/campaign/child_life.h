// What the processes of campaigns have in common: the beats by which their parent follows them, a
// log beside what they leave, the signal that asks them to stop.
#pragma once

#include <signal.h>

#include <memory>
#include <string>

#include "once/log.h"

namespace once::campaign {

// One byte to the parent (testing::Child::WaitForBeats).
void Beat();

// Lines of JSON, from kInfo on. Never closed: threads may log until the process ends. Throws where
// the file cannot be appended to.
std::shared_ptr<LogSink> OpenLog(const std::string& path);

// A file to which whole lines are appended with one write(2) each, so that a killed process leaves
// no torn one. Thread-safety: safe for concurrent use.
class LineFile {
 public:
  // Throws where it cannot be appended to.
  explicit LineFile(const std::string& path);
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;
  // The process ends where that fails: what is not written down was never said.
  void Append(const std::string& line) const;

 private:
  const int file_;
};

// Holds SIGTERM back from this thread and all that it starts.
class StopSignal {
 public:
  StopSignal();
  // Waits for so long; whether it has come.
  bool Await(int milliseconds) const;

 private:
  sigset_t signals_{};
};

}  // namespace once::campaign
