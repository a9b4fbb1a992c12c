// The command that an operator needs where the consumer cannot decide by itself, as errors show it.
#pragma once

#include <string>
#include <string_view>

#include "once/position.h"

namespace once {

// "`once position set --store STORE orders 0 earliest`", or whatever `verb` and `argument` say.
std::string PositionCommand(const TopicPartition& partition, std::string_view verb,
                            std::string_view argument);

}  // namespace once
