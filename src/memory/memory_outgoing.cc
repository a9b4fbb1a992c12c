// Rows and facts behind the store's mutex.
#include "src/memory/memory_outgoing.h"

#include "absl/strings/str_cat.h"

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
    const auto& rows = contents.outgoing.rows();
    std::vector<OutgoingRow> found;
    std::size_t bytes = 0;
    for (auto row = rows.upper_bound(after); row != rows.end(); ++row) {
      bytes += SizeBytes(row->second.message);
      if (found.size() == bound.rows_max || (!found.empty() && bytes > bound.bytes_max)) break;
      found.push_back(row->second);
    }
    return found;
  });
}

absl::StatusOr<std::vector<OutgoingRow>> MemoryOutgoing::ReadRows(
    std::span<const std::int64_t> numbers) {
  return data_->Access([&](const Contents& contents) {
    std::vector<OutgoingRow> found;
    for (const std::int64_t number : numbers) {
      const auto row = contents.outgoing.rows().find(number);
      if (row == contents.outgoing.rows().end()) {
        found.push_back({.number = number,
                         .damage = absl::DataLossError(
                             absl::StrCat("memory: outgoing message ", number, " is gone"))});
      } else {
        found.push_back(row->second);
      }
    }
    return found;
  });
}

absl::StatusOr<std::int64_t> MemoryOutgoing::FindLast() {
  return data_->Access([](const Contents& contents) { return contents.outgoing.last(); });
}

absl::StatusOr<std::uint64_t> MemoryOutgoing::MeasureBytes() {
  return data_->Access([](const Contents& contents) {
    std::uint64_t bytes = 0;
    for (const auto& [number, row] : contents.outgoing.rows()) bytes += SizeBytes(row.message);
    return bytes;
  });
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
