// What is missing is only asked for where a head says that something is.
#include "src/stream_notes.h"

#include <cassert>
#include <cstddef>
#include <utility>

#include "once/abseil.h"

namespace once {
namespace {

std::string KeyOf(const std::string& prefix, std::string_view stream) {
  std::string key;
  key.reserve(prefix.size() + stream.size());
  return key.append(prefix).append(stream);
}

absl::Status FindValues(StoreTransaction& transaction, const std::vector<std::string>& keys,
                        std::vector<std::string>& values) {
  values.assign(keys.size(), std::string());
  if (keys.empty()) return absl::OkStatus();
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  return transaction.FindNotes(views, values);
}

}  // namespace

absl::Status FindStreams(StoreTransaction& transaction, const StreamNotes& notes,
                         std::span<const std::string_view> streams,
                         std::span<std::optional<StreamState>> states) {
  assert(states.size() == streams.size());
  std::vector<std::string> keys;
  std::vector<std::string> heads;
  for (const std::string_view stream : streams) keys.push_back(KeyOf(notes.heads, stream));
  if (absl::Status found = FindValues(transaction, keys, heads); !found.ok()) return found;
  keys.clear();
  for (std::size_t i = 0; i < streams.size(); ++i) {
    if (StreamState::HasLosses(heads[i])) keys.push_back(KeyOf(notes.losses, streams[i]));
  }
  std::vector<std::string> losses;
  if (absl::Status found = FindValues(transaction, keys, losses); !found.ok()) return found;
  for (std::size_t i = 0, n = 0; i < streams.size(); ++i) {
    states[i].reset();
    if (heads[i].empty()) continue;
    const std::string_view missing =
        StreamState::HasLosses(heads[i]) ? std::string_view(losses[n++]) : std::string_view();
    states[i] = StreamState::Decode(heads[i], missing);
    if (!states[i]) return absl::DataLossError(ToAbsl(notes.damage));
  }
  return absl::OkStatus();
}

void StageStream(const StreamNotes& notes, std::string_view stream, const StreamState* before,
                 const StreamState& state, std::vector<OwnedNote>& staged) {
  static const StreamState kNothing;
  const StreamState& kept = before == nullptr ? kNothing : *before;
  if (state == kept) return;
  std::string head = state.EncodeHead();
  if (before == nullptr || head != before->EncodeHead()) {
    staged.push_back({.key = KeyOf(notes.heads, stream), .value = std::move(head)});
  }
  if (state.missing() != kept.missing() || state.given_up() != kept.given_up()) {
    staged.push_back({.key = KeyOf(notes.losses, stream), .value = state.EncodeLosses()});
  }
}

}  // namespace once
