// One request of an operator and its answer: the owner's side of the protocol, without the socket.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "once/operations.h"
#include "once/outgoing_operations.h"
#include "src/operator/maintenance_desk.h"

namespace once::operators {

// Who answers what. Null: nothing of it is offered.
struct Desks {
  StoreOperations& operations;
  MaintenanceDesk* maintenance = nullptr;  // what concerns the store as a whole
  OutgoingOperations* outgoing = nullptr;
};

// The answer to `line` (a request without its newline), with its newline and never longer than
// kOperatorLineBytesMax. Whatever the line is, there is an answer.
std::string AnswerRequest(const Desks& desks, std::string_view line);

// An answer that only says what went wrong.
std::string AnswerError(const absl::Status& error);

}  // namespace once::operators
