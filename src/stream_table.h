// A StreamTable keeps the states of a partition's streams in memory, the last used ones: two
// generations of at most half the bound each, of which the older one is dropped when the younger is
// full; what is found in the older one moves to the younger. So forgetting costs nothing, and a
// stream in the steady state takes its name, 24 bytes and its share of an index.
//
// A stream's name here is packed (PackStream): its epoch in eight bytes and its producer's id.
// Thread-safety: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "once/sequence.h"
#include "src/stream_state.h"

namespace once {

inline constexpr std::size_t kPackedStreamBytesMax = 8 + kProducerIdBytesMax;

std::string PackStream(const ProducerEpoch& by);
// REQUIRES: `packed` is from PackStream, else nullopt.
std::optional<ProducerEpoch> UnpackStream(std::string_view packed);

class StreamTable {
 public:
  // REQUIRES: streams_max >= 2.
  explicit StreamTable(std::size_t streams_max);
  StreamTable(const StreamTable&) = delete;
  StreamTable& operator=(const StreamTable&) = delete;
  ~StreamTable();

  std::optional<StreamState> Find(std::string_view name);
  void Put(std::string_view name, const StreamState& state);

  std::size_t size() const;
  // Whether a stream was dropped, ever.
  bool has_forgotten() const { return has_forgotten_; }

 private:
  // What few streams need.
  struct Rest {
    std::uint64_t begin = 1;
    std::uint64_t given_up = 0;
    std::vector<MissingRange> missing;
  };
  struct Slot {
    std::uint64_t high = 0;
    std::uint32_t name = 0;  // where it begins
    std::uint32_t rest = 0;  // the number of its Rest, plus one; 0: it is steady
    std::uint32_t era = 0;
    std::uint8_t name_bytes = 0;
  };
  class Generation;

  void PutYoung(std::string_view name, const StreamState& state);

  const std::size_t half_max_;
  std::unique_ptr<Generation> young_;
  std::unique_ptr<Generation> old_;
  bool has_forgotten_ = false;
};

}  // namespace once
