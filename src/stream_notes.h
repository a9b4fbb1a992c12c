// The notes in which a store keeps the StreamStates of one partition: per stream a head, which
// changes with its messages, and, where numbers are missing, one that says which. Thread-safety:
// that of the transaction.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "once/transaction.h"
#include "src/owned_note.h"
#include "src/stream_state.h"

namespace once {

// Where they are. A stream's keys are these, and behind them its packed name.
struct StreamNotes {
  std::string heads;   // StreamState::EncodeHead()
  std::string losses;  // StreamState::EncodeLosses()
  std::string damage;  // the error for one that cannot be read, with the way out
};

// What is kept of these streams, in at most two requests; nullopt: nothing. kDataLoss: a note is
// damaged. REQUIRES: as many states as streams.
absl::Status FindStreams(StoreTransaction& transaction, const StreamNotes& notes,
                         std::span<const std::string_view> streams,
                         std::span<std::optional<StreamState>> states);

// Adds what must be written. `before`: what is kept, null for nothing, which is as good as a stream
// of which nothing was received.
void StageStream(const StreamNotes& notes, std::string_view stream, const StreamState* before,
                 const StreamState& state, std::vector<OwnedNote>& staged);

}  // namespace once
