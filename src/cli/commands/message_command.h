// `once redrive | discard | resolve`: what an operator decides about single messages.
#pragma once

#include <cstdint>
#include <vector>

#include "src/cli/commands/command_context.h"
#include "src/cli/commands/failures_command.h"
#include "src/cli/commands/report.h"

namespace once::cli {

enum class MessageAction : std::uint8_t {
  kRedrive,             // handle it once more, under its own id
  kDiscard,             // never handle it
  kResolveHappened,     // an uncertain one did happen
  kResolveNotHappened,  // it did not: handle it once more
};

// Each on its own; the report has an outcome for each. kPartlyFailed when some were done only.
// REQUIRES: selectors is not empty.
Report DecideMessages(CommandContext& context, MessageAction action,
                      const std::vector<MessageSelector>& selectors);

}  // namespace once::cli
