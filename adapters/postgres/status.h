// What PostgreSQL's error codes mean by the contract of stores. Pure functions.
// Source: PostgreSQL's documentation, appendix "PostgreSQL Error Codes".
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace once::postgres {

// `sqlstate` is empty where the connection was lost. `what` begins the message.
absl::Status StatusOf(std::string_view sqlstate, std::string_view message, std::string_view what);

// An error that says nothing about the statement: the server, another transaction or the connection
// ended the transaction.
bool IsOfTheStore(std::string_view sqlstate);

}  // namespace once::postgres
