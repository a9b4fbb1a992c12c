// The exit codes of the `once` command, the same for every subcommand (docs/operating.md).
#pragma once

#include "absl/status/status.h"

namespace once::cli {

enum ExitCode : int {
  kDone = 0,
  kFailed = 1,         // internal, or the result is wrong
  kUsage = 2,          // flags or configuration
  kNotFound = 3,       // no such message, letter or row
  kPartlyFailed = 4,   // some were done, others were not
  kRefused = 5,        // the state or the kind of store does not permit it, or nobody confirmed it
  kUnreachable = 6,    // no broker, server or store owner answers
  kFoundProblems = 7,  // a check found what it looked for
};

// kDone for OK.
ExitCode ExitCodeOf(const absl::Status& status);

}  // namespace once::cli
