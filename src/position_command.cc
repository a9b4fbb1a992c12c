// The text of `once position …`.
#include "src/position_command.h"

namespace once {

std::string PositionCommand(const PartitionKey& key, std::string_view verb,
                            std::string_view argument) {
  std::string text = "`once position ";
  text.append(verb).append(" --store STORE ").append(key.partition.topic);
  text.append(" ").append(std::to_string(key.partition.partition));
  if (!argument.empty()) text.append(" ").append(argument);
  if (!key.group.empty()) text.append(" --group '").append(key.group).append("'");
  if (!key.cluster.empty()) text.append(" --cluster '").append(key.cluster).append("'");
  return text.append("`");
}

}  // namespace once
