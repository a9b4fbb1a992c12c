// `once position show | set | adopt`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "once/operations.h"
#include "src/cli/commands/command_context.h"
#include "src/cli/commands/report.h"

namespace once::cli {

// Names as a person writes them (ReadBytes). Empty or nullopt: any.
struct PositionSelector {
  std::string topic;
  std::optional<std::int32_t> partition = std::nullopt;
  std::string group;
  std::string cluster;
};

// Where a partition shall go on.
struct PositionWish {
  PositionDirective directive = PositionDirective::kSet;
  std::int64_t position = 0;  // kSet only
};

// "1200", "earliest" or "latest".
absl::StatusOr<PositionWish> ReadPositionWish(const std::string& text);

Report ShowPositions(CommandContext& context, const PositionSelector& selector);

// REQUIRES: the selector names topic and partition.
Report OrderPosition(CommandContext& context, const PositionSelector& selector,
                     const PositionWish& wish);

}  // namespace once::cli
