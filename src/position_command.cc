// The text of `once position …`.
#include "src/position_command.h"

namespace once {

std::string PositionCommand(const TopicPartition& partition, std::string_view verb,
                            std::string_view argument) {
  std::string text = "`once position ";
  text.append(verb).append(" --store STORE ").append(partition.topic);
  text.append(" ").append(std::to_string(partition.partition));
  if (!argument.empty()) text.append(" ").append(argument);
  return text.append("`");
}

}  // namespace once
