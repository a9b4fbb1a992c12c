// Copies: a row may be dropped while somebody still has it.
#include "src/stores/row_map.h"

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::stores {

std::vector<OutgoingRow> FindRows(const RowMap& rows, std::int64_t after, const RowBound& bound) {
  std::vector<OutgoingRow> found;
  std::size_t bytes = 0;
  for (auto row = rows.upper_bound(after); row != rows.end(); ++row) {
    bytes += SizeBytes(row->second.message);
    if (found.size() == bound.rows_max || (!found.empty() && bytes > bound.bytes_max)) break;
    found.push_back(row->second);
  }
  return found;
}

std::vector<OutgoingRow> ReadRows(const RowMap& rows, std::span<const std::int64_t> numbers,
                                  std::string_view store) {
  std::vector<OutgoingRow> found;
  for (const std::int64_t number : numbers) {
    const auto row = rows.find(number);
    if (row != rows.end()) {
      found.push_back(row->second);
      continue;
    }
    found.push_back({.number = number,
                     .damage = absl::DataLossError(
                         absl::StrCat(ToAbsl(store), ": outgoing message ", number, " is gone"))});
  }
  return found;
}

std::uint64_t MeasureBytes(const RowMap& rows) {
  std::uint64_t bytes = 0;
  for (const auto& [number, row] : rows) bytes += SizeBytes(row.message);
  return bytes;
}

}  // namespace once::stores
