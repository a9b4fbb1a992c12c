// What operators ask of a log of outgoing messages, answered by its owner.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "once/outgoing_operations.h"

namespace once::operators {

// OK and a result, or nullopt: it is no such call. `outgoing` null: the store has no such log.
std::optional<absl::StatusOr<nlohmann::json>> AnswerOutgoing(OutgoingOperations* outgoing,
                                                             std::string_view call,
                                                             const nlohmann::json& from);

}  // namespace once::operators
