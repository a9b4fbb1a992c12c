// The exit codes of the `once` command, the same for every subcommand (docs/operating.md).
#pragma once

namespace once::cli {

enum ExitCode : int {
  kDone = 0,
  kFailed = 1,       // internal, or the result is wrong
  kUsage = 2,        // flags or configuration
  kUnreachable = 6,  // no broker or server answers
};

}  // namespace once::cli
