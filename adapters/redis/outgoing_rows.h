// Rows of a shared spool, the numbers that name them everywhere else, and the names of its keys.
// A row's lane and its number there make one number. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapters/redis/cluster.h"
#include "once/outgoing_log.h"

namespace once::redis {

// All rows of an order (stores::OrderOf) are of one lane.
inline constexpr int kLanes = 16;
// Rows of one reply, and their bytes, but for the first.
inline constexpr std::size_t kReadRowsMax = 4'000;
inline constexpr std::size_t kReadBytesMax = 4 * 1024 * 1024;

constexpr int LaneOf(std::int64_t number) { return static_cast<int>(number % kLanes); }
constexpr std::int64_t InLane(std::int64_t number) { return number / kLanes; }
constexpr std::int64_t NumberOf(int lane, std::int64_t in_lane) { return in_lane * kLanes + lane; }

std::vector<int> AllLanes();

// All of them are of one slot.
class SpoolKeys {
 public:
  explicit SpoolKeys(const std::string& prefix)
      : tag_(TagOf(prefix)), base_(prefix + "{" + tag_ + "}") {}

  // What is in the braces.
  static std::string TagOf(const std::string& prefix) { return prefix + "spool"; }

  const std::string& OfSpool() const { return base_; }
  std::string OfLane(int lane) const;
  std::string OfRows(int lane) const;
  std::string OfStreams() const { return base_ + ":streams"; }
  std::string OfVoids() const { return base_ + ":voids"; }
  std::string OfEpochs() const { return base_ + ":epochs"; }
  std::string OfRelays() const { return base_ + ":relays"; }
  // Of one opening.
  std::string OfAppends(std::uint64_t incarnation) const;
  // Lane and rows of each.
  std::vector<std::string> OfLanes(const std::vector<int>& lanes) const;

 private:
  const std::string tag_;
  const std::string base_;
};

// Bytes of a row's value; the damage of a row names it. Empty: it is gone.
OutgoingRow SpoolRow(std::int64_t number, std::string_view value);

// The number in a reply's text; 0: it is none.
std::int64_t NumberIn(const Reply& reply);

// kUnknown: no script of ours answers so.
absl::Status UnreadableAnswer(std::string_view operation);

}  // namespace once::redis
