// The messages of a campaign, as a pure function of the seed and a message's place, so that every
// process computes them anew. A value says what its handler must do with it:
//
//   "p o-17 …"  succeed: one effect
//   "f o-17 …"  fail at the first attempt, then succeed: one effect
//   "r o-17 …"  be rejected: one dead letter, no effect
//   "x o-17 …"  fail at every attempt: one dead letter, no effect
//   "s o-17 …"  be skipped: settled on record, nothing else
//
// Place i lies in partition i mod partitions. Every twentieth message of a partition repeats an
// earlier one, in whatever partition that was. Of the others a few are odd: the kinds f, r, x, s,
// another value under an earlier id of its partition (a conflict), or no id at all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "once/publisher.h"

namespace once::campaign {

inline constexpr const char* kIdHeader = "order-id";
inline constexpr int kAttemptsMax = 3;

struct Workload {
  std::uint64_t seed = 1;
  std::int64_t messages = 0;
  std::int32_t partitions = 1;
  // Each oddity falls on one or two messages in so many; at least 8.
  std::int64_t odd_one_in = 1000;
  // Copies and conflicts: what only a store that remembers can tell.
  bool has_copies = true;
};

// The finalizer of SplitMix64 over both: numbers without visible order.
std::uint64_t Draw(std::uint64_t seed, std::uint64_t number);

// The messages of the places [first, first + count).
std::vector<OutgoingMessage> MessagesOf(const Workload& workload, const std::string& topic,
                                        std::int64_t first, std::int64_t count);

// 'p', 'f', 'r', 'x' or 's'; nullopt for bytes that no workload gives.
std::optional<char> KindOf(std::string_view value);

// Does this kind end as a dead letter?
inline bool IsBuried(char kind) { return kind == 'r' || kind == 'x'; }

}  // namespace once::campaign
