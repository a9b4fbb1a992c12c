// A private Redis Cluster for tests: masters that share the slots evenly, each with a replica or
// none, on free ports of this machine. What its nodes are told goes over their sockets.
// Thread-safety: one thread at a time, beside stores that use it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/redis/slots.h"
#include "adapters/redis/tests/redis_server.h"

namespace once::redis::testing {

struct ClusterShape {
  int masters = 3;
  bool has_replicas = false;               // node `masters + i` is that of node i
  std::vector<std::string> settings = {};  // of every node
  std::vector<int> announced_ports = {};   // of each node, where others are to find it
};

class RedisCluster {
 public:
  // Returns when it serves: some two seconds. Throws std::runtime_error.
  explicit RedisCluster(ClusterShape shape = {});

  RedisServer& node(int number) const { return *nodes_[static_cast<std::size_t>(number)]; }
  int port(int number) const { return ports_[static_cast<std::size_t>(number)]; }
  std::string url(int number = 0) const;
  const std::string& id(int number) const { return ids_[static_cast<std::size_t>(number)]; }
  int size() const { return static_cast<int>(nodes_.size()); }

  // Master of the beginning.
  int FirstOwnerOf(std::string_view key) const;

  // As an operator moves a slot, in three steps: from now on new keys of it are made at `to` …
  void BeginMove(int slot, int from, int to);
  // … one of its keys moves; false when none is left …
  bool MoveKey(int slot, int from, int to);
  // … and all know that it is over.
  void EndMove(int slot, int to);

  // All slots of the beginning that `from` has, at once, and none of their keys.
  void GiveSlots(int from, int to);

  // Until `node` sees the cluster serve, or not.
  void AwaitState(int node, const char* state);

 private:
  void StartNode(const ClusterShape& shape, int number);
  void Join(const ClusterShape& shape);
  // The id of the node that `number` takes for the owner; empty: it knows none.
  std::string OwnerAt(int number, int slot) const;
  bool AreAllOfOneEpoch() const;

  std::vector<std::unique_ptr<RedisServer>> nodes_;
  std::vector<int> ports_;
  std::vector<std::string> ids_;
  int masters_ = 0;
};

// Three masters, which tests share that leave them as they are; they use prefixes of their own.
RedisCluster& SharedCluster();

// Nobody listens there at the moment.
int FindPort();

}  // namespace once::redis::testing
