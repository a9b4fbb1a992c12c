// The command that an operator needs where the consumer cannot decide by itself, as errors show it.
#pragma once

#include <string>
#include <string_view>

#include "once/position.h"

namespace once {

// "`once position set --store STORE orders 0 earliest --group 'billing' --cluster 'ID'`", or what
// `verb` and `argument` say. A shell takes it as it is, whatever bytes the names have; STORE is the
// store. One without a row of the partition needs group and cluster.
std::string PositionCommand(const PartitionKey& key, std::string_view verb,
                            std::string_view argument);

}  // namespace once
