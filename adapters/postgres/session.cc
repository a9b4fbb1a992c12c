// One pipeline a call, over a socket that never blocks.
#include "adapters/postgres/session.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/status.h"
#include "once/abseil.h"

namespace once::postgres {
namespace {

constexpr std::string_view kCommitOperation = "commit";
constexpr std::chrono::milliseconds kLookAgain(100);

// Waits for the socket. False: not within the time.
bool Wait(int socket, short events, SteadyTime deadline) {
  const std::int64_t left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - SteadyNow()).count();
  pollfd one{.fd = socket, .events = events, .revents = 0};
  return poll(&one, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000))) > 0;
}

std::string NameOf(const Statement* statement) {
  return absl::StrCat("once_", reinterpret_cast<std::uintptr_t>(statement));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Session>> Session::Connect(const ConnectionSettings& settings,
                                                          std::string_view where) {
  std::vector<const char*> names;
  std::vector<const char*> values;
  for (const auto& [name, value] : settings) {
    names.push_back(name.c_str());
    values.push_back(value.c_str());
  }
  names.push_back(nullptr);
  values.push_back(nullptr);
  // Blocks, but never longer than connect_timeout for each of the hosts.
  PGconn* const connection = PQconnectdbParams(names.data(), values.data(), 0);
  if (connection == nullptr) return absl::ResourceExhaustedError("postgres: no memory");
  std::unique_ptr<Session> session(new Session(connection, where));
  if (absl::Status made = session->FinishConnecting(); !made.ok()) return made;
  return session;
}

absl::Status Session::FinishConnecting() {
  if (PQstatus(connection_) != CONNECTION_OK) {
    return Lose(absl::StrCat("connect: ", PQerrorMessage(connection_)));
  }
  pid_ = PQbackendPID(connection_);
  if (PQsetnonblocking(connection_, 1) != 0 || PQenterPipelineMode(connection_) != 1) {
    return Lose("connect: the connection takes no pipelines");
  }
  // Notices are for people at a terminal.
  PQsetNoticeReceiver(
      connection_, [](void*, const PGresult*) {}, nullptr);
  return absl::OkStatus();
}

Session::~Session() { PQfinish(connection_); }

absl::Status Session::Lose(std::string_view why) {
  is_lost_ = true;
  return StatusOf("", why, where_);
}

bool Session::SendCommand(const Command& command) {
  const auto& values = command.params.values();
  std::vector<const char*> texts;
  std::vector<int> lengths;
  for (const auto& value : values) {
    texts.push_back(value ? value->c_str() : nullptr);
    lengths.push_back(value ? static_cast<int>(value->size()) : 0);
  }
  const std::vector<int> binary(values.size(), 1);
  const auto count = static_cast<int>(values.size());
  const int* formats = command.is_text ? command.formats.data() : binary.data();
  const int result_format = command.is_text ? 0 : 1;
  if (command.statement != nullptr) {
    return PQsendQueryPrepared(connection_, NameOf(command.statement).c_str(), count, texts.data(),
                               lengths.data(), formats, result_format) == 1;
  }
  return PQsendQueryParams(connection_, command.sql.c_str(), count,
                           command.types.empty() ? nullptr : command.types.data(), texts.data(),
                           lengths.data(), formats, result_format) == 1;
}

absl::Status Session::Send(const std::vector<Command>& commands, std::vector<Step>& steps) {
  std::set<const Statement*> sent;
  for (std::size_t i = 0; i < commands.size(); ++i) {
    const Statement* statement = commands[i].statement;
    if (statement != nullptr && !prepared_.contains(statement) && sent.insert(statement).second) {
      steps.push_back({.command = i, .is_preparation = true});
      if (PQsendPrepare(connection_, NameOf(statement).c_str(), statement->sql.c_str(), 0,
                        nullptr) != 1) {
        return Lose(PQerrorMessage(connection_));
      }
    }
    steps.push_back({.command = i});
    if (!SendCommand(commands[i])) return Lose(PQerrorMessage(connection_));
  }
  if (PQpipelineSync(connection_) != 1) return Lose(PQerrorMessage(connection_));
  return absl::OkStatus();
}

absl::Status Session::Await(SteadyTime deadline) {
  for (;;) {
    const int unsent = PQflush(connection_);
    if (unsent < 0) return Lose(PQerrorMessage(connection_));
    if (PQisBusy(connection_) == 0) return absl::OkStatus();
    const auto events = static_cast<short>(unsent > 0 ? POLLIN | POLLOUT : POLLIN);
    // Bytes that TLS has read already are no news to the socket: look again after a while.
    const SteadyTime now = SteadyNow();
    if (now >= deadline) return Lose("the server has not answered in time");
    if (stop_.stop_requested()) return Lose("it was asked to stop");
    Wait(PQsocket(connection_), events, std::min(deadline, now + kLookAgain));
    if (PQconsumeInput(connection_) == 0) return Lose(PQerrorMessage(connection_));
  }
}

absl::StatusOr<PGresult*> Session::Receive(SteadyTime deadline) {
  if (absl::Status there = Await(deadline); !there.ok()) return there;
  return PQgetResult(connection_);
}

absl::Status Session::ErrorOf(const PGresult* result, const Command& command) {
  const char* const code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char* const primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const std::string_view operation =
      command.statement != nullptr ? command.statement->operation : command.operation;
  const std::string what = absl::StrCat(ToAbsl(operation), " ", where_);
  if (code == nullptr) {
    return StatusOf("", PQresultErrorMessage(result), what);
  }
  last_sqlstate_ = code;
  const bool is_lost_race = command.statement != nullptr && !command.statement->lost_race.empty() &&
                            command.statement->lost_race == last_sqlstate_;
  if (is_lost_race) {
    return absl::AbortedError(
        absl::StrCat("postgres: ", what, ": another transaction was first; try again"));
  }
  const absl::Status error = StatusOf(last_sqlstate_, primary == nullptr ? "" : primary, what);
  // A handler is not to blame for a statement of ours.
  const bool is_handlers = command.is_text || operation == kCommitOperation;
  const bool is_verdict = absl::IsInvalidArgument(error) || absl::IsAlreadyExists(error) ||
                          absl::IsFailedPrecondition(error);
  if (is_verdict && !is_handlers) return absl::InternalError(error.message());
  return error;
}

absl::StatusOr<std::vector<Result>> Session::Run(absl::Duration timeout) {
  const std::vector<Command> commands = std::exchange(queue_, {});
  last_sqlstate_.clear();
  is_outcome_known_ = is_lost_;
  if (is_lost_) return Lose("the connection was lost");
  const SteadyTime deadline = SteadyNow() + absl::ToChronoNanoseconds(timeout);
  std::vector<Step> steps;
  if (absl::Status sent = Send(commands, steps); !sent.ok()) return sent;
  if (absl::Status read = ReadAside(deadline); !read.ok()) return read;
  std::vector<Result> results;
  if (absl::Status read = Read(commands, steps, deadline, results); !read.ok()) return read;
  return results;
}

absl::Status Session::Read(const std::vector<Command>& commands, const std::vector<Step>& steps,
                           SteadyTime deadline, std::vector<Result>& results) {
  absl::Status error;
  const auto take = [&](const Step& step, PGresult* raw) {
    Result result(raw);
    const Command& command = commands[step.command];
    switch (PQresultStatus(raw)) {
      case PGRES_COMMAND_OK:
      case PGRES_TUPLES_OK:
      case PGRES_EMPTY_QUERY:
        if (step.is_preparation) {
          prepared_.insert(command.statement);
        } else {
          results.push_back(std::move(result));
        }
        return;
      case PGRES_PIPELINE_ABORTED:
        return;
      default:
        if (!error.ok()) return;
        error = ErrorOf(raw, command);
        // What failed before the last statement has kept it from being run.
        is_outcome_known_ = !last_sqlstate_.empty() && step.command + 1 < commands.size();
    }
  };
  for (const Step& step : steps) {
    for (;;) {
      const absl::StatusOr<PGresult*> result = Receive(deadline);
      if (!result.ok()) return error.ok() ? result.status() : error;
      if (*result == nullptr) break;
      take(step, *result);
      if (PQstatus(connection_) == CONNECTION_BAD) {
        is_lost_ = true;
        return error.ok() ? Lose(PQerrorMessage(connection_)) : error;
      }
    }
  }
  const absl::StatusOr<PGresult*> end = Receive(deadline);
  if (!end.ok()) return error.ok() ? end.status() : error;
  const Result sync(*end);
  if (*end == nullptr || PQresultStatus(*end) != PGRES_PIPELINE_SYNC) {
    return Lose("the server's answers do not belong to what was asked");
  }
  is_outcome_known_ = true;
  return error;
}

void Session::CancelOnServer() {
  const std::unique_ptr<PGcancel, void (*)(PGcancel*)> cancel(PQgetCancel(connection_),
                                                              PQfreeCancel);
  std::string error(256, '\0');
  // A statement that goes on all the same ends by itself.
  if (cancel) PQcancel(cancel.get(), error.data(), static_cast<int>(error.size()));
}

void Session::SendAside(const std::vector<Statement>& statements) {
  is_handlers_ = false;
  for (const Statement& statement : statements) aside_.push_back({.statement = &statement});
  Send(aside_, aside_steps_).IgnoreError();
}

absl::Status Session::ReadAside(SteadyTime deadline) {
  if (aside_steps_.empty()) return absl::OkStatus();
  const std::vector<Command> commands = std::exchange(aside_, {});
  const std::vector<Step> steps = std::exchange(aside_steps_, {});
  std::vector<Result> unused;
  const absl::Status read = Read(commands, steps, deadline, unused);
  // What was sent behind it is without an answer.
  is_outcome_known_ = false;
  last_sqlstate_.clear();
  return read.ok() ? read : Lose(ToStd(read.message()));
}

bool Session::IsAlive() {
  if (is_lost_) return false;
  while (Wait(PQsocket(connection_), POLLIN, SteadyNow())) {
    if (PQconsumeInput(connection_) == 0 || PQstatus(connection_) == CONNECTION_BAD) {
      Lose("the connection was lost").IgnoreError();
      return false;
    }
  }
  return true;
}

}  // namespace once::postgres
