// A StampReader tells which streams the messages of a batch are of (once/sequence.h). Messages of
// one stream carry the same bytes behind their number, so that each stream's are decoded once.
// Thread-safety: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "once/message.h"

namespace once {

class StampReader {
 public:
  struct Stamped {
    std::size_t stream = 0;  // index into names()
    std::uint64_t number = 0;
    bool is_from_outbox = false;
  };

  // Of another batch: the streams that were met are forgotten.
  void Begin();
  // nullopt: it has no stamp of its topic and partition. REQUIRES: all messages since Begin() are
  // of one partition and stay where they are until the next.
  std::optional<Stamped> Read(const Message& message);
  // Packed (PackStream), in the order in which they were met.
  const std::vector<std::string>& names() const { return names_; }

 private:
  std::vector<std::string> names_;
  absl::flat_hash_map<std::string, std::size_t> texts_;  // in names_, by the stamp's bytes
  std::string_view last_text_;
  std::size_t last_ = 0;
};

}  // namespace once
