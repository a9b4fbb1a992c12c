// `once loss report | forget`: which numbered messages are missing, as the store knows it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "src/cli/commands/command_context.h"
#include "src/cli/commands/report.h"

namespace once::cli {

// Empty fields select everything.
struct LossSelector {
  std::string cluster;
  std::string group;
  std::string topic;
  std::optional<std::int32_t> partition = std::nullopt;
  std::string producer;
};

// kFoundProblems when anything is missing: suspected, and neither arrived nor excused. What is only
// waited for is listed apart, and is no problem yet.
Report ReportLosses(CommandContext& context, const LossSelector& selector);

// What is missing of these is excused, once the person has confirmed it; what is only waited for
// stays. A partition at a time; of one whose consumer runs the row is taken from it, so that it
// reads what is missing again. Refused where another process has the store open, unless it is on a
// server. kNotFound when nothing is missing.
Report ForgetLosses(CommandContext& context, const LossSelector& selector);

}  // namespace once::cli
