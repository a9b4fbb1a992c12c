// The insert of the store's own transactions, on somebody else's connection.
#include "once/postgres/publish.h"

#include <libpq-fe.h>

#include <array>
#include <cassert>
#include <vector>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/outgoing_rows.h"
#include "adapters/postgres/result.h"
#include "adapters/postgres/settings.h"
#include "adapters/postgres/statement_names.h"
#include "adapters/postgres/status.h"
#include "once/abseil.h"
#include "once/transaction.h"

namespace once::postgres {
namespace {

absl::Status CheckConnection(const PGconn* connection) {
  const PGTransactionStatusType state = PQtransactionStatus(connection);
  if (state == PQTRANS_UNKNOWN) {
    return absl::UnavailableError("postgres: publish: the connection is lost");
  }
  if (PQpipelineStatus(connection) != PQ_PIPELINE_OFF || PQisnonblocking(connection) != 0) {
    return absl::FailedPreconditionError(
        "postgres: publish: the connection is in pipeline mode or does not wait; publish on one "
        "that does");
  }
  if (state == PQTRANS_INTRANS) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "postgres: publish: ",
      state == PQTRANS_INERROR ? "a statement of the transaction has failed; roll it back"
      : state == PQTRANS_IDLE  ? "no transaction is open on the connection; begin one, so that the "
                                 "message is sent with what it tells of, or not at all"
                               : "the connection is at work on a statement; finish it"));
}

absl::Status ErrorOf(const PGresult* result, const PGconn* connection, std::string_view schema) {
  const char* const code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const std::string_view sqlstate = code == nullptr ? "" : code;
  // Undefined table, schema or column.
  if (sqlstate == "42P01" || sqlstate == "3F000" || sqlstate == "42703") {
    return absl::FailedPreconditionError(absl::StrCat(
        "postgres: publish: schema ", ToAbsl(schema),
        " has no log of outgoing messages; name the schema of a store (PublishInOptions::schema), "
        "and open it once with OpenStore() of this version: ",
        PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)));
  }
  if (sqlstate == "25006") {
    return absl::FailedPreconditionError(
        "postgres: publish: the transaction is read only; begin one that may write, on the "
        "primary");
  }
  const char* const primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  return StatusOf(sqlstate, primary == nullptr ? PQerrorMessage(connection) : primary,
                  absl::StrCat("publish on schema ", ToAbsl(schema)));
}

absl::Status Insert(PGconn* connection, const Params& params, const std::string& schema) {
  constexpr int kParams = 4;
  std::array<const char*, kParams> values{};
  std::array<int, kParams> lengths{};
  const std::array<int, kParams> formats = {1, 1, 1, 1};
  assert(params.values().size() == kParams);
  for (std::size_t i = 0; i < kParams; ++i) {
    values[i] = params.values()[i]->data();
    lengths[i] = static_cast<int>(params.values()[i]->size());
  }
  const Result result(PQexecParams(connection, PutOutgoingRowsSql(schema).c_str(), kParams, nullptr,
                                   values.data(), lengths.data(), formats.data(), 1));
  if (result.get() != nullptr && PQresultStatus(result.get()) == PGRES_COMMAND_OK) {
    return absl::OkStatus();
  }
  return ErrorOf(result.get(), connection, schema);
}

}  // namespace

absl::Status PublishIn(PGconn* connection, std::span<const OutgoingMessage> messages,
                       const PublishInOptions& options) {
  absl::Status named = CheckSchemaName(options.schema, "PublishInOptions::schema");
  if (!named.ok()) return named;
  for (const OutgoingMessage& message : messages) {
    if (absl::Status valid = ValidateOutgoing(message); !valid.ok()) return valid;
  }
  if (absl::Status open = CheckConnection(connection); !open.ok()) return open;
  std::vector<RowToPublish> rows;
  rows.reserve(messages.size());
  const int pid = PQbackendPID(connection);
  for (const OutgoingMessage& message : messages) rows.push_back(MakeRow(message, pid));
  absl::Status done;
  ForEachPart(rows, options.locks_keys, [&](auto part, auto locked) {
    if (done.ok()) done = Insert(connection, PublishParams(part, locked), options.schema);
  });
  return done;
}

absl::Status PublishIn(PGconn* connection, const OutgoingMessage& message,
                       const PublishInOptions& options) {
  return PublishIn(connection, {&message, 1}, options);
}

}  // namespace once::postgres
