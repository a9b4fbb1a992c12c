// A WireProxy stands between a store and its server, reads along, and cuts the connection at the
// commit that it was armed for: before the server has heard it, or before the store hears the
// answer. A watch is told of every statement before the server is, and may take its time.
// Thread-safety: safe for concurrent use; it has a thread of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tests/scratch_folder.h"

namespace once::postgres::testing {

enum class Cut : std::uint8_t {
  kNone,
  kBeforeCommit,      // the server never hears of it
  kAfterCommit,       // the server has committed, and nobody is told
  kByServerAtCommit,  // the server ends the session before it hears of it
  kUnnoticed,         // as kBeforeCommit, and the server believes the session to be alive
};

class WireProxy {
 public:
  // `server_folder` holds the server's socket. `end_sessions` ends, for kByServerAtCommit, those
  // that are in a transaction.
  WireProxy(const std::string& server_folder, std::function<void()> end_sessions);
  ~WireProxy();
  WireProxy(const WireProxy&) = delete;
  WireProxy& operator=(const WireProxy&) = delete;

  std::string folder() const { return folder_.path(); }
  // For the next commit on any connection.
  void Arm(Cut cut) { cut_ = cut; }
  // `watch` is called with the text of each statement, on the proxy's thread: everything else that
  // goes through the proxy waits until it returns. Null: nobody watches.
  void Watch(std::function<void(std::string_view sql)> watch) {
    const std::lock_guard lock(watch_mutex_);
    watch_ = std::move(watch);
  }

 private:
  struct Link {
    int client = -1;
    int server = -1;
    std::string unread;                             // of the client, less than a message
    bool has_started = false;                       // the first message has no type
    std::map<std::string, std::string> statements;  // that are prepared, by their names
    bool is_mute = false;  // what the server says is dropped, and its first word cuts
    bool is_over = false;
  };

  void Run();
  void Accept();
  void ReadClient(Link& link);
  void ReadServer(Link& link);
  // True: one of the messages in `unread`, which is cut off it, commits.
  bool TakeMessages(Link& link);
  static void Close(Link& link);

  const std::string server_path_;
  const std::function<void()> end_sessions_;
  once::testing::ScratchFolder folder_;
  int listener_ = -1;
  std::atomic<Cut> cut_ = Cut::kNone;
  std::mutex watch_mutex_;
  std::function<void(std::string_view)> watch_;
  std::atomic<bool> is_stopping_ = false;
  std::list<Link> links_;
  std::vector<int> unnoticed_;  // sockets to the server that nobody reads
  std::thread thread_;
};

}  // namespace once::postgres::testing
