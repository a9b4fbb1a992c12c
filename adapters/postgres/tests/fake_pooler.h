// A FakePooler stands between clients and a server as PgBouncer does: a client is given a session
// of the server for each transaction, the one that came free last, or for as long as it is
// connected. Either way the server's process is named otherwise to the client.
// Thread-safety: safe for concurrent use; it has a thread of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "tests/scratch_folder.h"

namespace once::postgres::testing {

enum class PoolMode : std::uint8_t { kTransaction, kSession };

class FakePooler {
 public:
  // `server_folder` holds the server's socket. `drops_options`: those that a connection begins
  // with.
  FakePooler(const std::string& server_folder, PoolMode mode, bool drops_options = false);
  ~FakePooler();
  FakePooler(const FakePooler&) = delete;
  FakePooler& operator=(const FakePooler&) = delete;

  std::string folder() const { return folder_.path(); }

 private:
  struct Client {
    int socket = -1;
    int server = -1;  // none: no transaction is open
    bool has_started = false;
    std::string unread;  // of the server, less than a message
    bool is_over = false;
  };

  void Run();
  void ReadClient(Client& client);
  void ReadServer(Client& client);
  // The next whole message of the server, renamed; empty: there is none yet.
  std::string TakeMessage(Client& client);

  const std::string server_path_;
  const PoolMode mode_;
  const bool drops_options_;
  once::testing::ScratchFolder folder_;
  int listener_ = -1;
  std::atomic<bool> is_stopping_ = false;
  std::list<Client> clients_;
  std::vector<int> free_;  // sessions of the server, the last one goes first
  std::thread thread_;
};

}  // namespace once::postgres::testing
