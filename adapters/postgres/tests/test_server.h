// The PostgreSQL servers of tests: the one in ONCE_TEST_POSTGRES (`./dev test` starts it), which
// they share, each in a schema of its own; and private ones, for tests that kill them. Without a
// server all tests of the adapter skip, or fail where CI=true.
// Thread-safety: one thread at a time.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/scratch_folder.h"

namespace once::postgres::testing {

using SqlRows = std::vector<std::vector<std::string>>;

// One or several statements by a session of their own. Throws std::runtime_error where they fail.
SqlRows RunSql(const std::string& connection, const std::string& sql);

std::string SharedServer();

// A name for a schema that nobody else uses, here and on other servers.
std::string NewSchemaName();

// A schema for a store, and one with a table `effects` for its handlers; dropped at the end.
class TestSchema {
 public:
  explicit TestSchema(std::string connection);
  ~TestSchema();
  TestSchema(const TestSchema&) = delete;
  TestSchema& operator=(const TestSchema&) = delete;

  const std::string& name() const { return name_; }
  std::string effects() const { return name_ + "_handler.effects"; }
  // Ends all sessions of the store and waits until the server has: as when their processes died.
  void EndSessions() const;

 private:
  const std::string connection_;
  const std::string name_;
};

// A server in a scratch folder, on a socket there. It dies with this process.
class PrivateServer {
 public:
  // `settings` are lines of postgresql.conf. `prepare` puts files into the folder, before the
  // first start.
  explicit PrivateServer(const std::string& settings = "",
                         const std::function<void(const std::string& folder)>& prepare = nullptr);
  ~PrivateServer();
  PrivateServer(const PrivateServer&) = delete;
  PrivateServer& operator=(const PrivateServer&) = delete;

  // Returns when it serves. Its data are those that it was left with.
  void Start();
  // The whole machine loses its power, but for what is written: what was to be flushed is not.
  void LosePower();
  // kill -9 of all of the server's processes.
  void Kill();
  // Keeps a copy of the data as they are now, and …
  void KeepCopy();
  // … puts it back, as who restores a backup does. The server is away meanwhile.
  void ReturnToCopy();
  // The server stops, and what comes up at its address is a standby of it.
  void BecomeStandby();
  // The standby takes over, with what it has.
  void Promote();

  std::string socket_folder() const { return folder_.path(); }
  std::string connection() const {
    return "host=" + folder_.path() + " port=" + port_ + " dbname=postgres user=once";
  }
  std::string File(std::string_view name) const { return folder_.File(name); }

 private:
  void Wait();

  once::testing::ScratchFolder folder_;
  std::string port_ = "5432";  // also part of the socket's name
  pid_t pid_ = 0;
};

}  // namespace once::postgres::testing
