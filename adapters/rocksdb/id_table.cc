// Results under the keys of their ids.
#include "adapters/rocksdb/id_table.h"

#include "adapters/rocksdb/row_codec.h"

namespace once::rocksdb {

absl::Status IdTable::PutResult(const IdKey& key, std::string_view result) {
  const std::string where = Key(kResultTable, EncodeIdKey(key));
  if (!result.empty()) {
    database_.NoteResults();
    return batch_.Put(kRowsFamily, where, result);
  }
  if (!database_.has_results()) return absl::OkStatus();
  // Few ids have any, and a deletion is a row too.
  const auto found = batch_.view().Get(kRowsFamily, where);
  if (!found.ok()) return found.status();
  return *found ? batch_.Delete(kRowsFamily, where) : absl::OkStatus();
}

absl::StatusOr<std::string> IdTable::FindResult(const IdKey& key) {
  if (!database_.has_results()) return std::string();
  const auto found = batch_.view().Get(kRowsFamily, Key(kResultTable, EncodeIdKey(key)));
  if (!found.ok()) return found.status();
  return found->value_or("");
}

}  // namespace once::rocksdb
