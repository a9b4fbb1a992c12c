// What the systems hold at the end of a campaign: the input topic, the dead letters, the group's
// offsets, the effects and the store's own rows, each read from the system itself. Nothing in here
// comes from a history.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "once/dedup_store.h"
#include "once/guarantee.h"

namespace once::campaign {

// A message of the input topic.
struct Delivery {
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  std::string id;           // empty: it has none
  std::uint64_t value = 0;  // a fingerprint of its value
  char kind = 'p';          // workload.h
};

// A row of the effects table, which has no unique key; of a plain handler, a line of its file.
struct Effect {
  std::string id;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  std::uint64_t value = 0;
  bool is_announced = false;  // plain handlers: maybe_repeated() was true
};

// A message of the dead-letter topic, by its once-* headers.
struct Letter {
  std::string id;
  std::int32_t partition = 0;  // of the origin
  std::int64_t offset = 0;     // of the origin
  std::string disposition;
  std::uint64_t value = 0;  // its own fingerprint
};

struct PartitionTruth {
  std::int64_t end = 0;                   // of the log
  std::optional<std::int64_t> committed;  // the group's offset
  std::optional<std::int64_t> position;   // the store's row; transactional handlers
};

// Kept by the handler beside the rows, in the same transaction.
struct EffectTotal {
  std::int64_t count = 0;
  std::uint64_t sum = 0;  // of Effect::value, modulo 2^64

  friend bool operator==(const EffectTotal&, const EffectTotal&) = default;
};

struct Truth {
  HandlerKind handler = HandlerKind::kTransactional;
  // The store outlives its process: it remembers ids, and what was begun.
  bool is_store_durable = true;
  // Somebody publishes dead letters; else the id says that it is dead.
  bool has_letters = true;
  // The store was put back to an earlier moment: letters that were out by then stay out, and
  // another copy of a message may be the one that is buried in the end.
  bool is_rolled_back = false;
  // Dead letters were redriven to a handler that takes them.
  bool is_redriven = false;
  std::vector<Delivery> deliveries;            // ascending offsets within each partition
  std::vector<Effect> effects;                 // in the order in which they came to be
  std::map<std::int32_t, EffectTotal> totals;  // by partition; transactional handlers
  std::vector<Letter> letters;
  std::map<std::int32_t, PartitionTruth> partitions;
  std::unordered_map<std::string, IdState> ids;  // of every id in the topic
  std::size_t outbox_pending = 0;
};

// What the store says of every id in `deliveries`. Throws std::runtime_error when it says nothing.
std::unordered_map<std::string, IdState> ReadIds(DedupStore& store, const std::string& scope,
                                                 const std::vector<Delivery>& deliveries);

}  // namespace once::campaign
