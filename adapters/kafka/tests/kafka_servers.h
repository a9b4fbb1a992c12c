// Private brokers of one test or campaign, which it may kill, start again, freeze and thaw: one
// alone, or a cluster whose topics have as many replicas as it has brokers and need two of them in
// sync. They die with the thread that has started them, and so does what they hold.
// Thread-safety: none.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/scratch_folder.h"

namespace once::kafka::testing {

// Empty: brokers can be started here. ONCE_TEST_KAFKA_JARS names the broker's jars (`./dev test`
// and `./dev campaign` set it), and java must be on the path.
std::string WhyNoKafkaServers();

class KafkaServers {
 public:
  // Returns when all of them serve. Throws std::runtime_error, with what a broker said last.
  explicit KafkaServers(int count = 1);
  ~KafkaServers();
  KafkaServers(const KafkaServers&) = delete;
  KafkaServers& operator=(const KafkaServers&) = delete;

  // For bootstrap: host:port of each, by commas.
  std::string addresses() const;
  int count() const { return static_cast<int>(servers_.size()); }

  // For people who ask why: what the servers have said, their checkpoints, and the folders that
  // they have of the partitions of `topic`. Each with a name that tells which server's it is.
  std::vector<std::pair<std::string, std::string>> ListFiles(const std::string& topic) const;

  // kill -9.
  void Kill(int server);
  // After Kill(): with the data that it was left with, at the same address; returns when it serves.
  void Start(int server);
  // SIGSTOP: connections to it stay, and nobody answers …
  void Freeze(int server) const;
  // … until SIGCONT.
  void Thaw(int server) const;

 private:
  struct Server {
    std::string folder;
    int client_port = 0;
    int controller_port = 0;
    pid_t pid = 0;
    int starts = 0;
  };

  Server& At(int server) { return servers_.at(static_cast<std::size_t>(server)); }
  const Server& At(int server) const { return servers_.at(static_cast<std::size_t>(server)); }
  void WriteProperties(int server) const;
  std::string LogOf(const Server& server) const;
  void Launch(Server& server);
  void AwaitService(Server& server);

  const once::testing::ScratchFolder folder_;
  std::vector<Server> servers_;
};

}  // namespace once::kafka::testing
