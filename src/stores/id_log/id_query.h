// An IdQuery is one look-up of many ids on its way through the layers that may know them. Each
// layer takes out of it what it can answer; what nobody answered is absent.
// Private to src/stores. Thread-safety: none of its own.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "once/message_id.h"
#include "once/transaction.h"

namespace once::stores {

struct IdQuery {
  // Keeps those for which not `answer(index)`. They stay in their order.
  template <typename F>
  void AnswerEach(F&& answer) {
    std::erase_if(pending, [&](std::uint32_t index) { return answer(index); });
  }

  std::span<const IdKey> keys;
  std::span<const std::uint64_t> hashes;  // HashOf() each key
  std::span<IdRecord> records;
  std::vector<std::uint32_t> pending;  // indexes into all three
};

}  // namespace once::stores
