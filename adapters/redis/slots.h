// Slots of a Redis Cluster: which one a key lies in, which server owns it, and what a server says
// that is asked for another's. Pure.
// Source: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "adapters/redis/reply.h"

namespace once::redis {

inline constexpr int kSlots = 16384;

// CRC16 of XMODEM, by which the specification places keys.
std::uint16_t Crc16(std::string_view bytes);

// Of what is between the key's first { and the next }, where there is something; else of all of it.
int SlotOf(std::string_view key);

// A word that begins with `stem` and whose slot satisfies `is_wanted`; `stem` itself if it does.
// nullopt: about no slot does.
std::optional<std::string> TagWithin(std::string_view stem,
                                     const std::function<bool(int)>& is_wanted);

// Where a node is reached. An empty host: where whoever said so was reached.
struct NodePlace {
  std::string host;
  int port = 0;

  friend bool operator==(const NodePlace&, const NodePlace&) = default;
};

struct SlotRange {
  int first = 0;
  int last = 0;
  NodePlace master;
  std::string master_id;  // of the node, for its life
};

// Of CLUSTER SLOTS. kUnavailable: the cluster has no names for its nodes; kInternal: anything else
// that is no map.
absl::StatusOr<std::vector<SlotRange>> ParseSlots(const Reply& reply);

struct Redirection {
  bool is_for_once = false;  // ASK: this command alone, behind ASKING; else MOVED
  int slot = 0;
  NodePlace to;
};

// nullopt: the error is none, or one that nobody can follow.
std::optional<Redirection> ParseRedirection(std::string_view error);

}  // namespace once::redis
