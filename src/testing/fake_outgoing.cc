// Every call is a seam.
#include "src/testing/fake_outgoing.h"

#include "src/stores/row_map.h"
#include "src/testing/fake_connection.h"

namespace once::testing {

absl::StatusOr<std::vector<OutgoingRow>> FakeOutgoing::FindRows(std::int64_t after,
                                                                const stores::RowBound& bound) {
  const absl::Status status = connection_.EnterRead(Seam::kReadOutgoing);
  if (!status.ok()) return status;
  return stores::FindRows(connection_.store_.state_.outgoing.rows, after, bound);
}

absl::StatusOr<std::vector<OutgoingRow>> FakeOutgoing::ReadRows(
    std::span<const std::int64_t> numbers) {
  if (numbers.empty()) return std::vector<OutgoingRow>();
  const absl::Status status = connection_.EnterRead(Seam::kReadOutgoing);
  if (!status.ok()) return status;
  return stores::ReadRows(connection_.store_.state_.outgoing.rows, numbers, "fake store");
}

absl::StatusOr<std::int64_t> FakeOutgoing::FindLast() {
  const absl::Status status = connection_.EnterRead(Seam::kReadOutgoing);
  if (!status.ok()) return status;
  return connection_.store_.state_.outgoing.last;
}

absl::StatusOr<std::uint64_t> FakeOutgoing::MeasureBytes() {
  const absl::Status status = connection_.EnterRead(Seam::kReadOutgoing);
  if (!status.ok()) return status;
  return stores::MeasureBytes(connection_.store_.state_.outgoing.rows);
}

absl::StatusOr<std::vector<stores::OutgoingFact>> FakeOutgoing::ReadFacts() {
  const absl::Status status = connection_.EnterRead(Seam::kReadOutgoing);
  if (!status.ok()) return status;
  std::vector<stores::OutgoingFact> facts;
  for (const auto& [key, value] : connection_.store_.state_.outgoing.facts) {
    facts.push_back({.key = key, .value = value});
  }
  return facts;
}

absl::Status FakeOutgoing::Write(const stores::OutgoingChange& change) {
  StoreChange written;
  for (const stores::OutgoingFact& fact : change.facts) {
    written.facts.push_back({.key = fact.key, .value = fact.value});
  }
  for (const stores::OutgoingChange::Range& range : change.dropped) {
    written.dropped.push_back({.first = range.first, .last = range.last});
  }
  return connection_.Change(Seam::kWriteOutgoing, written);
}

}  // namespace once::testing
