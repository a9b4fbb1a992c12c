// Every id that a file has, read as one who opens it would, but without opening it as a store.
// Thread-safety: none.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "adapters/sqlite/connection_ids.h"
#include "adapters/sqlite/tests/store_scene.h"
#include "src/stores/claim_codec.h"
#include "src/stores/id_log/id_log.h"

namespace once::sqlite {

struct IdOfFile {
  std::string id;
  IdRecord record;
  std::optional<stores::ClaimRow> claim;

  // "id|state|attempt|not before|fence|lease|is begun|disposition".
  std::string text() const {
    std::string line = absl::StrCat(id, "|", static_cast<int>(record.state), "|", record.attempt,
                                    "|", absl::FormatTime(record.not_before));
    if (!claim) return line;
    absl::StrAppend(&line, "|", claim->fence ? claim->fence->counter : 0, "|",
                    absl::FormatTime(claim->lease_end), "|", claim->is_begun, "|",
                    claim->disposition ? static_cast<int>(*claim->disposition) : -1);
    return line;
  }
};

// In the order of their bytes. Fails the test when a byte is not what was written.
inline std::vector<IdOfFile> IdsOfFile(const std::string& path) {
  OwnConnection connection(path);
  ConnectionIds storage;
  std::vector<IdOfFile> ids;
  const absl::Status prepared = storage.Prepare(connection.get(), path);
  EXPECT_TRUE(prepared.ok()) << prepared;
  if (!prepared.ok()) return ids;
  const auto log = stores::IdLog::Open(storage, {});
  EXPECT_TRUE(log.ok()) << log.status();
  if (!log.ok()) return ids;
  const absl::Status read =
      (*log)->ForEach([&](const IdKey& key, const IdRecord& record, std::string_view extra) {
        ids.push_back({.id = std::string(key.id), .record = record});
        if (extra.empty()) return absl::OkStatus();
        const auto claim = stores::DecodeClaim(extra);
        if (claim.ok()) ids.back().claim = *claim;
        return claim.status();
      });
  EXPECT_TRUE(read.ok()) << read;
  std::sort(ids.begin(), ids.end(),
            [](const IdOfFile& a, const IdOfFile& b) { return a.id < b.id; });
  return ids;
}

inline std::vector<std::string> NamesOfIds(const std::string& path) {
  std::vector<std::string> names;
  for (const IdOfFile& found : IdsOfFile(path)) names.push_back(found.id);
  return names;
}

}  // namespace once::sqlite
