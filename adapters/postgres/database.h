// The Database is one opening of a store: its sessions, which are connected when they are needed
// and again after they were lost, what is known of the server, and the words of claims that no disk
// has seen yet.
// Thread-safety: safe for concurrent use; a lease belongs to one thread at a time.
#pragma once

#include <atomic>
#include <bit>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/postgres/log_time_alarm.h"
#include "adapters/postgres/schema.h"
#include "adapters/postgres/server.h"
#include "adapters/postgres/session.h"
#include "adapters/postgres/statements.h"
#include "once/dedup_store.h"
#include "once/postgres/store.h"
#include "src/stores/claim_rules.h"

namespace once::postgres {

class Database : public std::enable_shared_from_this<Database> {
 public:
  static absl::StatusOr<std::shared_ptr<Database>> Open(StoreOptions options);

  struct Returner {
    std::shared_ptr<Database> database;
    void operator()(Session* session) const { database->GiveBack(session); }
  };
  // A session outside any transaction; given back by its end, whatever state it is in then.
  using Lease = std::unique_ptr<Session, Returner>;

  // kUnavailable: all sessions are at work, or the server cannot be reached.
  absl::StatusOr<Lease> Acquire(std::string_view operation);

  // One that is nobody else's, beside those that are leased.
  absl::StatusOr<std::unique_ptr<Session>> ConnectAside() { return Connect(); }

  // The queue of `session` in a transaction of its own, committed as durable as `wanted`.
  absl::StatusOr<std::vector<Result>> RunAlone(Session& session, std::string_view operation);
  // Ends the transaction of `session` with what is queued before; kUnknown when nobody knows
  // whether it did. `when_unknown` ends that message.
  absl::Status Commit(Session& session, Durability wanted, std::string_view when_unknown) {
    return CommitQueued(session, wanted, when_unknown).status();
  }
  // The same; the results are those of what was queued, in its order, and of the commit behind.
  absl::StatusOr<std::vector<Result>> CommitQueued(Session& session, Durability wanted,
                                                   std::string_view when_unknown);

  // A commit of claims that did not wait for the disk goes on the count; as ClaimStore::Sync().
  absl::Status CommitWords(Session& session);
  absl::Status Sync();
  // Makes a commit that writes nothing else wait for the disk.
  bool has_unsynced() const { return has_unsynced_; }
  void QueueSync(Session& session) { session.Queue(statements_.sync_words, OwnOpening()); }

  // Ends sessions that hold one of the rows in a transaction that has asked nothing for too long,
  // and those of this process that were lost. The number of them.
  absl::StatusOr<int> EndHungOwners(std::span<const PartitionKey> keys);

  Fence NewFence() { return {.incarnation = incarnation_, .counter = ++last_claim_}; }
  // By what claims are judged when the server's clock is at `micros`.
  stores::LeaseClock ClockAt(std::int64_t micros) const;

  // Scopes whose rows are committed: nobody needs to look again.
  bool IsKnownScope(std::string_view name) const;
  void NoteScopes(const std::vector<std::string>& names);

  // Of whatever was committed through this opening.
  LogTimeAlarm& log_times() { return log_times_; }

  const StoreOptions& options() const { return options_; }
  const Statements& statements() const { return statements_; }
  // Of all of its sessions, as the server shows it: "once:billing:1a2b3c".
  const std::string& session_name() const { return session_name_; }
  // "on schema once of billing at db", for messages.
  const std::string& where() const { return where_; }
  StoreTraits traits() const;

 private:
  explicit Database(StoreOptions options);

  absl::StatusOr<std::unique_ptr<Session>> Connect();
  // Looks whether the server is the one it was, and has what it had.
  absl::Status Recognise(Session& session);
  absl::Status RecogniseWords(Session& session);
  // What the server has said with a commit that is synced: that it is less durable than when it was
  // met, and how far its log is on disk now at least.
  void NoteSynced(const Result& said);
  // The reason why commits may be missing on a server of which another was met before; empty: none.
  std::string FindLoss(const Server& former, const Server& server) const;
  // Where the row of this opening is gone: it is put anew, and what it counted is taken for lost.
  absl::Status PutOpening(Session& session);
  // Notes a loss where fewer words are found than were answered. REQUIRES: words_mutex_ is held.
  void CheckWords(std::int64_t found, std::int64_t wanted);
  // Each thread is told once of a loss that may concern it: it must not take its next Sync() for
  // that of what it recorded before, and goes on with what it is given again.
  // REQUIRES: words_mutex_ is held.
  absl::Status TellLoss();
  Params OwnOpening() const {
    return std::move(Params().Int8(std::bit_cast<std::int64_t>(incarnation_)));
  }
  void GiveBack(Session* session);
  // True: it may connect now. False: the last attempts failed a moment ago.
  bool MayConnect();
  void NoteConnecting(const absl::Status& connected);

  const StoreOptions options_;
  const Statements statements_;
  const std::uint64_t incarnation_;
  const std::string session_name_;
  ConnectionSettings settings_;
  std::string where_;
  StoreIdentity identity_;
  std::atomic<std::uint64_t> last_claim_ = 0;
  LogTimeAlarm log_times_;
  std::atomic<bool> has_unsynced_ = false;  // there was a commit that did not wait for the disk

  mutable std::mutex mutex_;
  std::condition_variable given_back_;
  std::vector<std::unique_ptr<Session>> idle_;
  std::set<int> pids_;  // of the sessions that live
  int leased_ = 0;
  int failed_attempts_ = 0;
  SteadyTime next_attempt_ = SteadyTime::min();
  absl::Status last_failure_;
  std::optional<Server> server_;
  std::int64_t synced_log_ = 0;  // the server's log is on disk up to here
  std::string loss_of_server_;   // why commits may be missing since the opening; empty: none is
  absl::flat_hash_set<std::string> known_scopes_;

  std::mutex words_mutex_;
  std::int64_t last_word_ = 0;    // of those answered OK
  std::int64_t synced_word_ = 0;  // this one, and all before it, are on disk
  int recognitions_ = 0;          // how often a new session has compared the counts
  absl::Status words_lost_;       // not OK: some were lost, as the next Sync() of a thread says …
  std::uint64_t loss_ = 0;        // … unless it began behind this one of the process' losses …
  std::set<std::thread::id> told_;  // … or was told
};

}  // namespace once::postgres
