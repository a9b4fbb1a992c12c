// By hand over RocksDB: one MultiGet for the ids of a batch, one synced WriteBatch for ids and
// effects. RocksDB's defaults, but for a bloom filter, without which every fresh id reads a block.
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <stdexcept>
#include <string>
#include <unordered_set>
#include <vector>

#include "tests/benchmark/effects_family.h"
#include "tests/benchmark/ledger.h"

namespace once::benchmark {
namespace {

void Check(const ::rocksdb::Status& status, const char* operation) {
  if (!status.ok()) throw std::runtime_error(std::string(operation) + ": " + status.ToString());
}

class RocksLedger final : public Ledger {
 public:
  RocksLedger(const std::string& path, bool has_effects) : has_effects_(has_effects) {
    ::rocksdb::Options options;
    options.create_if_missing = true;
    ::rocksdb::BlockBasedTableOptions table;
    table.filter_policy.reset(::rocksdb::NewBloomFilterPolicy(10));
    options.table_factory.reset(::rocksdb::NewBlockBasedTableFactory(table));
    Check(::rocksdb::DB::Open(options, path, &db_), "opening");
    Check(db_->CreateColumnFamily(options, kEffectsFamily, &effects_), "creating the family");
  }
  ~RocksLedger() override {
    db_->DestroyColumnFamilyHandle(effects_);
    delete db_;
  }
  RocksLedger(const RocksLedger&) = delete;
  RocksLedger& operator=(const RocksLedger&) = delete;

  std::size_t Apply(std::span<rd_kafka_message_t* const> batch) override {
    std::vector<::rocksdb::Slice> ids;
    for (const rd_kafka_message_t* message : batch) {
      const std::string_view id = IdHeaderOf(*message);
      ids.emplace_back(id.data(), id.size());
    }
    std::vector<::rocksdb::PinnableSlice> values(ids.size());
    std::vector<::rocksdb::Status> found(ids.size());
    db_->MultiGet({}, db_->DefaultColumnFamily(), ids.size(), ids.data(), values.data(),
                  found.data());
    ::rocksdb::WriteBatch writes;
    std::unordered_set<std::string_view> in_batch;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (found[i].ok()) continue;
      if (!found[i].IsNotFound()) Check(found[i], "looking up");
      const std::string_view id = ids[i].ToStringView();
      if (!in_batch.insert(id).second) continue;
      Check(writes.Put(ids[i], ""), "adding an id");
      if (!has_effects_) continue;
      const auto [key, value] = EncodeEffect(EffectOf(*batch[i], id));
      Check(writes.Put(effects_, key, value), "adding an effect");
    }
    ::rocksdb::WriteOptions options;
    options.sync = true;
    Check(db_->Write(options, &writes), "writing");
    return in_batch.size();
  }

 private:
  const bool has_effects_;
  ::rocksdb::DB* db_ = nullptr;
  ::rocksdb::ColumnFamilyHandle* effects_ = nullptr;
};

}  // namespace

Finish ConsumeByHandWithRocksdb(const Task& task) {
  RocksLedger ledger(task.database, false);
  return ConsumeByHand(task, ledger);
}

Finish ConsumeByHandWithRocksdbRows(const Task& task) {
  RocksLedger ledger(task.database, true);
  return ConsumeByHand(task, ledger);
}

}  // namespace once::benchmark
