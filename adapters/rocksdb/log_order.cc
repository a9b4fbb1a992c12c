// Of a log, the beginning of the first record: a checksum of 4 bytes, its length in 2, its type in
// 1, and then the batch, which begins with its number (8 bytes, little-endian), as
// https://github.com/facebook/rocksdb/wiki/Write-Ahead-Log-File-Format says.
#include "adapters/rocksdb/log_order.h"

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "src/stores/bytes.h"

namespace once::rocksdb {
namespace {

constexpr std::size_t kTypeAt = 6;
constexpr std::size_t kBatchAt = 7;
constexpr char kWholeRecord = 1;
constexpr char kFirstPart = 2;

// nullopt: it has no record, or none that can be read.
std::optional<std::uint64_t> FirstNumber(const std::filesystem::path& log) {
  std::array<char, kBatchAt + sizeof(std::uint64_t)> begin{};
  std::ifstream(log, std::ios::binary).read(begin.data(), begin.size());
  if (begin[kTypeAt] != kWholeRecord && begin[kTypeAt] != kFirstPart) return std::nullopt;
  stores::ByteReader batch({begin.data() + kBatchAt, sizeof(std::uint64_t)});
  return batch.TakeInt<std::uint64_t>();
}

}  // namespace

absl::Status CheckLogOrder(const std::string& folder) {
  std::map<std::uint64_t, std::filesystem::path> logs;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    std::uint64_t number = 0;
    if (entry.path().extension() != ".log") continue;
    if (absl::SimpleAtoi(entry.path().stem().string(), &number)) logs[number] = entry.path();
  }
  std::uint64_t latest = 0;
  for (const auto& [number, path] : logs) {
    const std::optional<std::uint64_t> first = FirstNumber(path);
    if (!first) continue;
    if (*first < latest) {
      return absl::DataLossError(absl::StrCat("rocksdb: open ", folder, ": ",
                                              path.filename().string(),
                                              " begins before the log that came before it, so it "
                                              "is another one; restore a backup"));
    }
    latest = *first;
  }
  return absl::OkStatus();
}

}  // namespace once::rocksdb
