// What can be seen, from outside, of the log of outgoing messages that a fake store holds: as a
// relay that begins now would read it. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "absl/status/statusor.h"
#include "once/publisher.h"
#include "once/testing/store_state.h"
#include "src/stores/outgoing_state.h"

namespace once::testing {

// The header by which a message is known as one of Scenario::messages.
inline constexpr std::string_view kPostHeader = "post";

// The number in the header; nullopt: there is none.
std::optional<std::size_t> NumberInHeader(const OutgoingMessage& message, std::string_view header);
inline std::optional<std::size_t> PostOf(const OutgoingMessage& message) {
  return NumberInHeader(message, kPostHeader);
}

absl::StatusOr<stores::OutgoingState> LoadOutgoing(const StoreState& state);

// Of the rows there are, those that can never be sent: whether each is the first of its key that is
// too large, by its number. `too_large`: posts.
std::map<std::int64_t, bool> FindStuck(const StoreState& state,
                                       const std::set<std::size_t>& too_large);
// Every row there is can be sent no more: it is too large and parked, or behind such a one of its
// key. Which rows these are follows from the scenario: whoever parks another one is never done.
bool HasOnlyParked(const StoreState& state, const std::set<std::size_t>& too_large);
// Epochs of which a stream is not closed, or a void not declared.
std::set<std::uint64_t> FindEpochs(const StoreState& state);

}  // namespace once::testing
