// Rows and facts.
#include "src/testing/outgoing_facts.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include "src/testing/header_text.h"

namespace once::testing {

std::optional<std::size_t> NumberInHeader(const OutgoingMessage& message, std::string_view header) {
  const std::string text = HeaderText(message.headers, header);
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

absl::StatusOr<stores::OutgoingState> LoadOutgoing(const StoreState& state) {
  std::vector<stores::OutgoingFact> facts;
  for (const auto& [key, value] : state.outgoing.facts) {
    facts.push_back({.key = key, .value = value});
  }
  return stores::OutgoingState::Load(facts);
}

std::map<std::int64_t, bool> FindStuck(const StoreState& state,
                                       const std::set<std::size_t>& too_large) {
  std::map<std::int64_t, bool> stuck;
  std::set<std::string> keys;
  for (const auto& [number, row] : state.outgoing.rows) {
    const std::optional<std::size_t> post = PostOf(row.message);
    const std::string key = row.message.key.value_or("");
    if (keys.contains(key)) {
      stuck.emplace(number, false);
    } else if (post && too_large.contains(*post)) {
      keys.insert(key);
      stuck.emplace(number, true);
    }
  }
  return stuck;
}

bool HasOnlyParked(const StoreState& state, const std::set<std::size_t>& too_large) {
  const absl::StatusOr<stores::OutgoingState> log = LoadOutgoing(state);
  if (!log.ok() || !log->rounds().empty()) return false;
  const std::map<std::int64_t, bool> stuck = FindStuck(state, too_large);
  const auto& rows = state.outgoing.rows;
  return std::all_of(rows.begin(), rows.end(), [&](const auto& entry) {
    const auto found = stuck.find(entry.first);
    if (found == stuck.end()) return false;
    const bool is_first = found->second;
    return !is_first || log->parked().contains(entry.first);
  });
}

std::set<std::uint64_t> FindEpochs(const StoreState& state) {
  std::set<std::uint64_t> epochs;
  const absl::StatusOr<stores::OutgoingState> log = LoadOutgoing(state);
  if (!log.ok()) return epochs;
  for (const StreamProgress& stream : log->ListStreams()) epochs.insert(stream.epoch);
  for (const OwedVoid& owed : log->ListOwed()) epochs.insert(owed.epoch);
  return epochs;
}

}  // namespace once::testing
