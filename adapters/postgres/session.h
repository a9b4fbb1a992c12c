// A Session is one connection to the server. Statements are queued and sent together as one
// pipeline, one round trip for all of them; no call waits longer than its timeout, so that a server
// or a network that is gone is noticed. A session that was lost stays so.
// Thread-safety: one thread at a time.
#pragma once

#include <libpq-fe.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/postgres/params.h"
#include "adapters/postgres/result.h"

namespace once::postgres {

// Of this machine, for pauses and deadlines: nobody sets it.
using SteadyTime = std::chrono::steady_clock::time_point;
inline SteadyTime SteadyNow() { return std::chrono::steady_clock::now(); }

// A statement of the store's own, prepared by each session at its first use. Compared by address.
struct Statement {
  std::string operation;  // in errors
  std::string sql;
  // The SQLSTATE by which it says that another transaction was first: kAborted.
  std::string_view lost_race = {};
};

// One statement to run: one that is prepared, or the text of a single one.
struct Command {
  const Statement* statement = nullptr;
  std::string sql = {};
  Params params = {};
  std::string_view operation = {};  // of a text, in errors
  bool is_text = false;             // parameters and results, for handlers
  std::vector<Oid> types = {};      // of a text's parameters, where they are not all inferred …
  std::vector<int> formats = {};    // … and which of them are binary
};

// Names of libpq's options and their values.
using ConnectionSettings = std::vector<std::pair<std::string, std::string>>;

class Session {
 public:
  // kUnavailable, with the server's words, when there is no connection.
  static absl::StatusOr<std::unique_ptr<Session>> Connect(const ConnectionSettings& settings,
                                                          std::string_view where);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  // Goes with the next Run().
  void Queue(Command command) { queue_.push_back(std::move(command)); }
  void Queue(const Statement& statement, Params params = {}) {
    queue_.push_back({.statement = &statement, .params = std::move(params)});
  }
  void QueueText(std::string sql, std::string_view operation) {
    queue_.push_back({.sql = std::move(sql), .operation = operation});
  }
  bool has_queued() const { return !queue_.empty(); }
  // Nothing was sent since it was queued, nor is anything queued in front of it.
  bool IsNext(const Statement& statement) const {
    return !queue_.empty() && queue_.front().statement == &statement;
  }
  void DropQueued() { queue_.clear(); }

  // Sends what is queued and answers one result for each; the first error, if there is one. Those
  // behind it were not run.
  absl::StatusOr<std::vector<Result>> Run(absl::Duration timeout);

  // Sends them and does not wait: the next Run() reads the answers first. Where one fails nobody
  // knows what state the session is in: it counts as lost then. REQUIRES: nothing is queued.
  void SendAside(const std::vector<Statement>& statements);
  // A handler had it since it was connected, or was cleaned.
  bool is_handlers() const { return is_handlers_; }
  void NoteHandler() { is_handlers_ = true; }

  // From now on a session whose answer is waited for counts as lost once that is requested.
  void EndWaitsAt(std::stop_token stop) { stop_ = std::move(stop); }

  // Asks the server to give up the statement at hand, which nobody waits for any more.
  void CancelOnServer();

  // Nothing can be said of the last statement that was sent, and nothing more can be sent.
  bool is_lost() const { return is_lost_; }
  // Looks for what the server has said by itself meanwhile: that it is going away.
  bool IsAlive();
  bool is_in_transaction() const { return PQtransactionStatus(connection_) == PQTRANS_INTRANS; }
  bool is_idle() const { return PQtransactionStatus(connection_) == PQTRANS_IDLE; }
  // A statement failed: the transaction takes no others.
  bool has_failed() const { return PQtransactionStatus(connection_) == PQTRANS_INERROR; }
  // Of the last error; empty when the connection was lost before the server said anything.
  const std::string& last_sqlstate() const { return last_sqlstate_; }
  // After a Run() that failed: the last of its statements was not run, or it was refused. False:
  // the connection was lost before the server's answer to it.
  bool is_outcome_known() const { return is_outcome_known_; }
  // Of the server's process, as it names itself: a pooler in between tells another number.
  int pid() const { return pid_; }
  void set_pid(int pid) { pid_ = pid; }

 private:
  // What one answer belongs to.
  struct Step {
    std::size_t command = 0;
    bool is_preparation = false;
  };

  Session(PGconn* connection, std::string_view where) : connection_(connection), where_(where) {}

  absl::Status FinishConnecting();
  absl::Status Send(const std::vector<Command>& commands, std::vector<Step>& steps);
  bool SendCommand(const Command& command);
  // The answers to `steps`, and the end of the pipeline.
  absl::Status Read(const std::vector<Command>& commands, const std::vector<Step>& steps,
                    SteadyTime deadline, std::vector<Result>& results);
  absl::Status ReadAside(SteadyTime deadline);
  // Until an answer is there, or kUnavailable and the session is lost.
  absl::Status Await(SteadyTime deadline);
  // The next part of an answer; null at its end.
  absl::StatusOr<PGresult*> Receive(SteadyTime deadline);
  absl::Status Lose(std::string_view why);
  absl::Status ErrorOf(const PGresult* result, const Command& command);

  PGconn* const connection_;
  const std::string where_;
  int pid_ = 0;
  bool is_lost_ = false;
  std::string last_sqlstate_;
  bool is_outcome_known_ = true;
  std::set<const Statement*> prepared_;
  std::vector<Command> queue_;
  bool is_handlers_ = false;
  std::stop_token stop_;
  // What was sent aside, and whose answers nobody has read yet.
  std::vector<Command> aside_;
  std::vector<Step> aside_steps_;
};

}  // namespace once::postgres
