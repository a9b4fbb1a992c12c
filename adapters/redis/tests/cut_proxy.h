// A CutProxy stands between a store and its server, and cuts a connection when a script passes: in
// four places of the conversation. Each side is a socket of the file system, named by its path, or
// a port of this machine, named by its number.
// Thread-safety: all methods are safe for concurrent use. A thread of its own does the work.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace once::redis::testing {

enum class Cut : std::uint8_t {
  kUnheard,       // the server hears nothing
  kTorn,          // it hears the first half of what is sent
  kUnanswered,    // it hears all, and no answer arrives
  kHalfAnswered,  // half of the answer arrives
};
inline constexpr int kCuts = 4;

class CutProxy {
 public:
  // What is to be cut next, by whichever proxy passes a script first.
  struct Arms {
    std::mutex mutex;
    std::optional<Cut> cut;
  };

  // Throws std::runtime_error.
  CutProxy(std::string own_place, std::string server_place,
           std::shared_ptr<Arms> arms = std::make_shared<Arms>());
  ~CutProxy();
  CutProxy(const CutProxy&) = delete;
  CutProxy& operator=(const CutProxy&) = delete;

  // The next bytes that run a script are the ones.
  void Arm(Cut cut);
  void Disarm();
  // How many have happened.
  int cuts() const { return cuts_; }
  // Once: when the server has answered bytes that have `word` in them, `work` is done before the
  // answer goes on. In the proxy's thread, which does nothing else meanwhile.
  void BeforeAnswer(std::string word, std::function<void()> work);
  // From now on connections lead to another server; those there are have ended when it returns.
  void LeadTo(std::string server_place);

 private:
  struct Link {
    int client = -1;
    int server = -1;
    std::optional<Cut> cut;  // at the answer
    std::function<void()> work = {};
  };

  void Work(const std::stop_token& stop);
  void Accept();
  // False when the link is over.
  bool PassOn(Link& link);
  static bool Answer(Link& link);
  std::optional<Cut> TakeArmed(const std::string& bytes);
  std::function<void()> TakeWork(const std::string& bytes);

  const std::string place_;
  int listener_ = -1;
  std::vector<Link> links_;  // the thread's
  std::mutex mutex_;
  std::string server_place_;
  bool is_moving_ = false;
  std::string awaited_word_;
  std::function<void()> work_;
  std::condition_variable moved_;
  const std::shared_ptr<Arms> arms_;
  std::atomic<int> cuts_ = 0;
  std::jthread thread_;  // last: joined first
};

}  // namespace once::redis::testing
