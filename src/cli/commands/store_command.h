// `once store stats | verify | compact | backup`.
#pragma once

#include <string>

#include "src/cli/commands/command_context.h"
#include "src/cli/commands/report.h"

namespace once::cli {

Report ShowFigures(CommandContext& context);
// kFoundProblems when something is damaged.
Report VerifyStore(CommandContext& context);
// The figures before and after.
Report CompactStore(CommandContext& context);
// `path` as the person gave it: relative to this process, not to the owner of the store.
Report BackUpStore(CommandContext& context, const std::string& path);

}  // namespace once::cli
