// Rows and facts behind the store's mutex.
#include "src/memory/memory_outgoing.h"

#include "src/stores/row_map.h"

namespace once::memory {

void OutgoingTable::Apply(const stores::OutgoingChange& change) {
  for (const stores::OutgoingFact& fact : change.facts) {
    if (fact.value) {
      facts_.insert_or_assign(fact.key, *fact.value);
    } else {
      facts_.erase(fact.key);
    }
  }
  for (const stores::OutgoingChange::Range& range : change.dropped) {
    rows_.erase(rows_.lower_bound(range.first), rows_.upper_bound(range.last));
  }
}

absl::StatusOr<std::vector<OutgoingRow>> MemoryOutgoing::FindRows(std::int64_t after,
                                                                  const stores::RowBound& bound) {
  return data_->Access([&](const Contents& contents) {
    return stores::FindRows(contents.outgoing.rows(), after, bound);
  });
}

absl::StatusOr<std::vector<OutgoingRow>> MemoryOutgoing::ReadRows(
    std::span<const std::int64_t> numbers) {
  return data_->Access([&](const Contents& contents) {
    return stores::ReadRows(contents.outgoing.rows(), numbers, "memory");
  });
}

absl::StatusOr<std::int64_t> MemoryOutgoing::FindLast() {
  return data_->Access([](const Contents& contents) { return contents.outgoing.last(); });
}

absl::StatusOr<std::uint64_t> MemoryOutgoing::MeasureBytes() {
  return data_->Access(
      [](const Contents& contents) { return stores::MeasureBytes(contents.outgoing.rows()); });
}

absl::StatusOr<std::vector<stores::OutgoingFact>> MemoryOutgoing::ReadFacts() {
  return data_->Access([](const Contents& contents) {
    std::vector<stores::OutgoingFact> facts;
    for (const auto& [key, value] : contents.outgoing.facts()) {
      facts.push_back({.key = key, .value = value});
    }
    return facts;
  });
}

absl::Status MemoryOutgoing::Write(const stores::OutgoingChange& change) {
  data_->Access([&](Contents& contents) { contents.outgoing.Apply(change); });
  return absl::OkStatus();
}

}  // namespace once::memory
