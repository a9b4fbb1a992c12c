// Rows of effects in RocksDB, and the check of them.
#include "tests/benchmark/effects_family.h"

#include <rocksdb/db.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "tests/benchmark/effects_check.h"
#include "tests/benchmark/workload.h"

namespace once::benchmark {
namespace {

constexpr std::size_t kNumberBytes = 8;

void AppendNumber(std::string& bytes, std::uint64_t number) {
  for (std::size_t i = kNumberBytes; i-- > 0;) {
    bytes.push_back(static_cast<char>(number >> (8 * i) & 0xffu));
  }
}

std::int64_t ReadNumber(std::string_view bytes) {
  std::uint64_t number = 0;
  for (const char byte : bytes.substr(0, kNumberBytes)) {
    number = number << 8 | static_cast<unsigned char>(byte);
  }
  return static_cast<std::int64_t>(number);
}

}  // namespace

std::pair<std::string, std::string> EncodeEffect(const Effect& effect) {
  const std::optional<std::int64_t> order = ParseOrder(effect.value);
  if (!order) throw std::runtime_error("a message is not of the workload");
  std::string key;
  AppendNumber(key, static_cast<std::uint64_t>(effect.partition));
  AppendNumber(key, static_cast<std::uint64_t>(effect.offset));
  std::string value;
  AppendNumber(value, static_cast<std::uint64_t>(*order));
  value.append(effect.id);
  return {std::move(key), std::move(value)};
}

std::string FindWrongEffectsInFamily(const std::string& path, std::int64_t messages) {
  std::vector<std::string> names;
  ::rocksdb::Status status = ::rocksdb::DB::ListColumnFamilies({}, path, &names);
  if (!status.ok()) return path + ": " + status.ToString();
  std::vector<::rocksdb::ColumnFamilyDescriptor> families;
  for (const std::string& name : names)
    families.emplace_back(name, ::rocksdb::ColumnFamilyOptions());
  std::vector<::rocksdb::ColumnFamilyHandle*> handles;
  ::rocksdb::DB* db = nullptr;
  // As the store opens it. Without, RocksDB would strike the logs that the store has noted from the
  // manifest, which a reader cannot: 7.8 asserts that.
  ::rocksdb::Options options;
  options.track_and_verify_wals_in_manifest = true;
  status = ::rocksdb::DB::OpenForReadOnly(options, path, families, &handles, &db);
  if (!status.ok()) return path + ": " + status.ToString();
  EffectsCheck check(messages);
  std::string wrong;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] != kEffectsFamily) continue;
    const std::unique_ptr<::rocksdb::Iterator> rows(db->NewIterator({}, handles[i]));
    for (rows->SeekToFirst(); rows->Valid() && wrong.empty(); rows->Next()) {
      const std::string_view value = rows->value().ToStringView();
      wrong = value.size() < kNumberBytes
                  ? "a row that is no effect"
                  : check.Add(value.substr(kNumberBytes), ReadNumber(value));
    }
    if (wrong.empty() && !rows->status().ok()) wrong = rows->status().ToString();
  }
  for (::rocksdb::ColumnFamilyHandle* handle : handles) db->DestroyColumnFamilyHandle(handle);
  delete db;
  return wrong.empty() ? check.Finish() : wrong;
}

}  // namespace once::benchmark
