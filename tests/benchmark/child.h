// RunSelf starts this very program again with other arguments and waits for it: whatever is
// measured has a process of its own, whose processor time and memory the kernel accounts for.
#pragma once

#include <string>
#include <vector>

namespace once::benchmark {

struct ChildResult {
  std::string output;  // what it wrote to standard output
  double cpu_seconds = 0;
  double peak_mb = 0;
};

// Throws std::runtime_error when it does not end with exit code 0. Standard error is shared.
ChildResult RunSelf(const std::vector<std::string>& arguments);

// Called first in such a child: it is killed when its parent ends, or after kChildSeconds.
void LimitChild();
inline constexpr unsigned kChildSeconds = 600;

}  // namespace once::benchmark
