// A ChildProcess is this very program, started again with other arguments. It never outlives its
// owner: the destructor kills it, and EndWithParent() covers an owner that is killed itself.
// Thread-safety: none. Start it from a thread that lives as long as the process is to live: the
// kernel takes that thread's end for the parent's.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace once::demo {

struct ChildExit {
  int code = 0;    // of a process that ended by itself
  int signal = 0;  // that ended it; 0 when it ended by itself
};

// "exit code 1", "signal 9 (Killed)".
std::string ToString(const ChildExit& exit);

class ChildProcess {
 public:
  struct Descriptors {
    int output = -1;  // becomes its standard output and error
    int shared = -1;  // becomes kSharedDescriptor
  };
  static constexpr int kSharedDescriptor = 3;

  static absl::StatusOr<ChildProcess> Start(const std::vector<std::string>& arguments,
                                            const Descriptors& descriptors);

  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // How it ended; nullopt while it runs. REQUIRES: it has not been told before.
  std::optional<ChildExit> TryWait();
  // The same, waiting until `deadline`.
  std::optional<ChildExit> WaitUntil(absl::Time deadline);

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}

  pid_t pid_ = -1;  // -1 once it is known how it ended
};

// Called first in a child: it is killed when its parent ends. kCancelled when that has happened
// already; `parent` is the process id that started it.
absl::Status EndWithParent(pid_t parent);

}  // namespace once::demo
