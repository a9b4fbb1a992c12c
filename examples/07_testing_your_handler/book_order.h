// The handler under test, as the service has it: books each order into its own SQLite file.
#pragma once

#include <once/handler.h>

#include "absl/status/status.h"

struct sqlite3;

absl::Status CreateTables(sqlite3* db);
absl::Status BookOrder(const once::Message& message, once::Transaction& transaction);
