// One request of an operator and its answer: the owner's side of the protocol, without the socket.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "once/operations.h"
#include "src/operator/maintenance_desk.h"

namespace once::operators {

// The answer to `line` (a request without its newline), with its newline and never longer than
// kOperatorLineBytesMax. Whatever the line is, there is an answer.
// `desk` takes what concerns the store as a whole; null: nothing of it is offered.
std::string AnswerRequest(StoreOperations& operations, std::string_view line,
                          MaintenanceDesk* desk = nullptr);

// An answer that only says what went wrong.
std::string AnswerError(const absl::Status& error);

}  // namespace once::operators
