// The text of `once position …`.
#include "src/position_command.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "once/abseil.h"

namespace once {
namespace {

// As one word of a shell that the command reads back byte for byte: in quotes, unless that needs
// none; in hexadecimal where quotes would not do, or the command would take it for something else.
std::string WordOf(std::string_view name, bool may_be_bare) {
  const auto is_quotable = [](char c) {
    return absl::ascii_isprint(static_cast<unsigned char>(c)) && c != '\'' && c != '`';
  };
  const bool is_plain = std::all_of(name.begin(), name.end(), is_quotable) &&
                        !name.starts_with("hex:") && !name.starts_with("-");
  if (!is_plain) return "hex:" + absl::BytesToHexString(ToAbsl(name));
  const auto is_bare = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
  };
  if (may_be_bare && std::all_of(name.begin(), name.end(), is_bare)) return std::string(name);
  return "'" + std::string(name) + "'";
}

}  // namespace

std::string PositionCommand(const PartitionKey& key, std::string_view verb,
                            std::string_view argument) {
  std::string text = "`once position ";
  text.append(verb).append(" --store STORE ");
  text.append(WordOf(key.partition.topic, /*may_be_bare=*/true));
  text.append(" ").append(std::to_string(key.partition.partition));
  if (!argument.empty()) text.append(" ").append(argument);
  if (!key.group.empty()) text.append(" --group ").append(WordOf(key.group, false));
  if (!key.cluster.empty()) text.append(" --cluster ").append(WordOf(key.cluster, false));
  return text.append("`");
}

}  // namespace once
