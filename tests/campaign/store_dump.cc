// What an SQLite store holds, as text.
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "adapters/sqlite/connection_ids.h"
#include "once/abseil.h"
#include "src/stores/claim_codec.h"
#include "src/stores/id_log/id_log.h"
#include "tests/campaign/store_writer.h"

namespace once::campaign {
namespace {

// "table.column" or "table.": names of stores, openings, writers and owners; and numbers of
// letters, which are never given twice by an open store. What lies in the log of ids is shown id by
// id: how much of it is sealed is a matter of time.
constexpr std::array<std::string_view, 9> kHidden = {"once_meta.",
                                                     "once_outbox.sequence",
                                                     "sqlite_sequence.",
                                                     "once_positions.revision",
                                                     "once_positions.writer",
                                                     "once_segments.",
                                                     "once_open.",
                                                     "once_pages.",
                                                     "sqlite_stat1."};
constexpr std::size_t kShownBytes = 40;  // of a value

bool IsHidden(const std::string& name) {
  return std::find(kHidden.begin(), kHidden.end(), name) != kHidden.end();
}

class Reader {
 public:
  explicit Reader(const std::string& path) {
    const int code = sqlite3_open_v2(path.c_str(), &connection_, SQLITE_OPEN_READWRITE, nullptr);
    if (code != SQLITE_OK) Complain("open");
    sqlite3_busy_timeout(connection_, 1000);
  }
  ~Reader() { sqlite3_close(connection_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // Calls take(statement) for every row.
  template <typename Take>
  void ForEach(const std::string& sql, Take take) {
    sqlite3_stmt* statement = nullptr;
    int code = sqlite3_prepare_v2(connection_, sql.c_str(), -1, &statement, nullptr);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
      code = sqlite3_step(statement);
      if (code == SQLITE_ROW) take(statement);
    }
    sqlite3_finalize(statement);
    if (code != SQLITE_DONE) Complain(sql);
  }

  sqlite3* connection() { return connection_; }

  std::vector<std::string> lines;

 private:
  void Complain(const std::string& operation) {
    lines.push_back(absl::StrCat("DAMAGED: ", operation, ": ", sqlite3_errmsg(connection_)));
  }

  sqlite3* connection_ = nullptr;
};

std::string TextOf(sqlite3_stmt* statement, int column) {
  const void* bytes = sqlite3_column_blob(statement, column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, column));
  if (bytes == nullptr) return "null";
  const std::string value(static_cast<const char*>(bytes), size);
  return size <= kShownBytes
             ? absl::CEscape(value)
             : absl::StrCat(absl::CEscape(value.substr(0, kShownBytes)), "… of ", size, " bytes");
}

void DumpTable(Reader& reader, const std::string& table) {
  reader.ForEach(absl::StrCat("SELECT * FROM \"", table, "\""), [&](sqlite3_stmt* statement) {
    std::string line = table;
    for (int i = 0; i < sqlite3_column_count(statement); ++i) {
      const std::string column = sqlite3_column_name(statement, i);
      if (IsHidden(absl::StrCat(table, ".", column))) continue;
      absl::StrAppend(&line, " ", column, "=", TextOf(statement, i));
    }
    reader.lines.push_back(line);
  });
}

// Without fences and leases, which are those of one opening.
std::string ClaimText(std::string_view extra) {
  if (extra.empty()) return "";
  const auto claim = stores::DecodeClaim(extra);
  if (!claim.ok()) return " DAMAGED: " + claim.status().ToString();
  return absl::StrCat(" claimed", claim->fence ? "" : " by nobody", " begun=", claim->is_begun,
                      " may_have_run=", claim->may_have_run, " disposition=",
                      claim->disposition ? static_cast<int>(*claim->disposition) : -1,
                      " print=", claim->fingerprint.high, ",", claim->fingerprint.low);
}

absl::Status DumpIds(const std::string& path, Reader& reader) {
  sqlite::ConnectionIds storage;
  if (absl::Status prepared = storage.Prepare(reader.connection(), path); !prepared.ok()) {
    return prepared;
  }
  const auto ids = stores::IdLog::Open(storage, {});
  if (!ids.ok()) return ids.status();
  std::vector<std::string> lines;
  absl::Status read =
      (*ids)->ForEach([&](const IdKey& key, const IdRecord& record, std::string_view extra) {
        lines.push_back(absl::StrCat(
            "once_ids scope=", ToAbsl(key.scope), " id=", absl::CEscape(ToAbsl(key.id)),
            " state=", static_cast<int>(record.state), " print=", record.fingerprint.high, ",",
            record.fingerprint.low, " attempt=", record.attempt,
            " first_failed_at=", absl::FormatTime(record.first_failed_at),
            " not_before=", absl::FormatTime(record.not_before), ClaimText(extra)));
        return absl::OkStatus();
      });
  // Open rows come in no order.
  std::sort(lines.begin(), lines.end());
  reader.lines.insert(reader.lines.end(), lines.begin(), lines.end());
  return read;
}

}  // namespace

std::vector<std::string> DumpStore(const std::string& path) {
  Reader reader(path);
  // One moment: the store's background task may be at work.
  reader.ForEach("BEGIN", [](sqlite3_stmt*) {});
  std::vector<std::string> tables;
  reader.ForEach("PRAGMA integrity_check", [&](sqlite3_stmt* statement) {
    const std::string finding = TextOf(statement, 0);
    if (finding != "ok") reader.lines.push_back("DAMAGED: " + finding);
  });
  reader.ForEach("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name",
                 [&](sqlite3_stmt* statement) { tables.push_back(TextOf(statement, 0)); });
  for (const std::string& table : tables) {
    if (!IsHidden(table + ".")) DumpTable(reader, table);
  }
  if (const absl::Status dumped = DumpIds(path, reader); !dumped.ok()) {
    reader.lines.push_back("DAMAGED: " + dumped.ToString());
  }
  return std::move(reader.lines);
}

std::string DescribeDifference(const std::vector<std::string>& expected,
                               const std::vector<std::string>& found) {
  constexpr int kLinesMax = 8;
  std::string text;
  int lines = 0;
  const auto add = [&](const char* sign, const std::vector<std::string>& from,
                       const std::vector<std::string>& other) {
    for (const std::string& line : from) {
      if (std::find(other.begin(), other.end(), line) != other.end()) continue;
      if (++lines <= kLinesMax) absl::StrAppend(&text, "\n  ", sign, " ", line);
    }
  };
  add("missing:", expected, found);
  add("not expected:", found, expected);
  if (lines > kLinesMax) absl::StrAppend(&text, "\n  … and ", lines - kLinesMax, " more");
  return text;
}

std::int64_t CountMissing(std::vector<std::string> expected, std::vector<std::string> found,
                          std::string_view prefix) {
  std::sort(expected.begin(), expected.end());
  std::sort(found.begin(), found.end());
  std::vector<std::string> missing;
  std::set_difference(expected.begin(), expected.end(), found.begin(), found.end(),
                      std::back_inserter(missing));
  return std::count_if(missing.begin(), missing.end(),
                       [&](const std::string& line) { return line.starts_with(prefix); });
}

}  // namespace once::campaign
