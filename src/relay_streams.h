// RelayStreams gives sequence numbers: one stream for every epoch, topic and partition. What it has
// given is only kept once the store has it; and it knows how far each stream has come.
// Thread-safety: none of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "once/outgoing_log.h"
#include "once/sequence.h"

namespace once {

struct RelayStream {
  StreamProgress progress;          // as it is to be written
  std::string name;                 // as stamps and marks have it
  std::uint64_t staged_last = 0;    // given, perhaps not written yet
  std::uint64_t finished_last = 0;  // all up to it are acknowledged or void
  bool is_changed = false;          // since it was written
  bool is_mark_due = false;         // finished more since it was marked
};

class RelayStreams {
 public:
  explicit RelayStreams(std::string producer) : producer_(std::move(producer)) {}

  // Forgets all but what the store has.
  void Load(std::span<const StreamProgress> stored);
  // Beside what it knows: of epochs that are not its own, whatever the store has more of.
  void Learn(std::span<const StreamProgress> stored);
  // A new incarnation: its streams begin with number 1.
  void BeginEpoch(std::uint64_t epoch);
  std::uint64_t epoch() const { return epoch_; }

  // Of this incarnation.
  RelayStream& Open(const std::string& topic, std::int32_t partition);
  // Of any.
  RelayStream& Find(std::uint64_t epoch, const std::string& topic, std::int32_t partition);
  std::uint64_t GiveNumber(RelayStream& stream);

  // What has to be written with the numbers that were given since the last call of the others.
  std::vector<StreamProgress> ListChanged() const;
  void KeepNumbers();      // they are written
  void TakeNumbersBack();  // they are not, and were not sent

  // A message with this number was acknowledged, or given up (offset -1).
  static void Finish(RelayStream& stream, std::uint64_t sequence, std::int64_t offset);

  // Streams with news for a mark. nullopt: nothing of it was ever acknowledged.
  std::vector<RelayStream*> TakeDue();
  static std::optional<StreamMark> MarkOf(const RelayStream& stream, std::uint64_t last);

  // Epochs that somebody else has left behind.
  std::vector<std::uint64_t> FindFormerEpochs() const;
  std::vector<const RelayStream*> StreamsOf(std::uint64_t epoch) const;
  void Forget(std::uint64_t epoch);

 private:
  using Key = std::tuple<std::uint64_t, std::string, std::int32_t>;

  const std::string producer_;
  std::uint64_t epoch_ = 0;
  std::map<Key, RelayStream> streams_;                                // whose addresses last
  absl::flat_hash_map<std::string, std::vector<RelayStream*>> open_;  // by topic, then partition
};

}  // namespace once
