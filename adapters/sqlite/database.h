// A Database is one open store file: the connection that writes, the connection that reads, their
// prepared statements, and the turnstile that lets one transaction at a time write.
//
// Two connections: WAL lets the relay and the idle audit read what is committed while the worker's
// transaction is open, without waiting for it and without seeing into it. Everything that writes,
// MarkPublished included, goes through the one writing connection and its turnstile.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/sqlite/guard.h"
#include "adapters/sqlite/schema.h"
#include "adapters/sqlite/statement.h"
#include "adapters/sqlite/store_files.h"
#include "adapters/sqlite/turnstile.h"
#include "once/sqlite/store.h"

namespace once::sqlite {

struct ConnectionCloser {
  void operator()(sqlite3* connection) const;
};
using ConnectionHandle = std::unique_ptr<sqlite3, ConnectionCloser>;

// Scopes by name: once_ids names them by these numbers.
using ScopeNumbers = absl::flat_hash_map<std::string, std::int64_t>;

struct WriterStatements {
  Statement begin, commit, rollback;
  Statement savepoint, release_savepoint, rollback_to_savepoint;
  Statement find_id, put_id, forget_id, find_scope, add_scope;
  Statement find_position, add_position, take_position, set_position;
  Statement put_outgoing, mark_published, park;
};

struct ReaderStatements {
  Statement find_position, find_pending, count_pending;
};

class Database {
 public:
  static absl::StatusOr<std::shared_ptr<Database>> Open(const StoreOptions& options);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  const std::string& path() const { return files_->path(); }
  const StoreIdentity& identity() const { return identity_; }
  std::string FindWeakness() const { return files_->FindWeakness(); }

  // Waits for its turn, then for other processes, in all for busy_timeout. OK: the writing
  // connection is the caller's until Commit() or Rollback(). kUnavailable: it took too long.
  absl::Status Begin(std::string_view operation);

  // REQUIRES for all below: between Begin() and Commit() or Rollback().
  absl::Status CheckOpen();
  // Over in every case. `new_scopes` are known from then on if it is OK. kUnknown: see the comment
  // at IsCommitUnknown.
  absl::Status Commit(ScopeNumbers new_scopes = {});
  void Rollback();
  // Ends what the handler's statements have begun to read: a COMMIT would otherwise fail, or leave
  // a reader behind that holds the whole -wal back.
  void ResetStatementsOfHandlers();

  sqlite3* writer() { return writer_.get(); }
  Guard& guard() { return *guard_; }
  WriterStatements& statements() { return statements_; }
  // Of committed scopes; a number never changes.
  const ScopeNumbers& known_scopes() const { return known_scopes_; }

  // For readers, one at a time. The statements are valid while the object lives.
  class ReadScope {
   public:
    explicit ReadScope(Database& database) : database_(database), lock_(database.reader_mutex_) {}
    ReaderStatements& statements() { return database_.reader_statements_; }
    absl::Status Check() const { return database_.files_->CheckUnmoved(); }

   private:
    Database& database_;
    std::lock_guard<std::mutex> lock_;
  };

 private:
  Database() = default;
  absl::Status OpenWriter(const StoreOptions& options);
  absl::Status SetUpByUser(const StoreOptions& options);
  absl::Status PrepareWriterStatements();
  absl::Status OpenReader();
  absl::Status BeginImmediate(std::string_view operation, absl::Duration timeout);

  std::unique_ptr<StoreFiles> files_;  // first in, last out: the lock outlives the connections
  absl::Duration busy_timeout_;
  StoreIdentity identity_;
  Turnstile turnstile_;
  ConnectionHandle writer_;
  Guard* guard_ = nullptr;  // owned by the connection
  WriterStatements statements_;
  ScopeNumbers known_scopes_;

  std::mutex reader_mutex_;
  ConnectionHandle reader_;
  ReaderStatements reader_statements_;
};

}  // namespace once::sqlite
