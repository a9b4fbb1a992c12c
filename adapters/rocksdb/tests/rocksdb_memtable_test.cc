// The order of what is not in files yet, beside RocksDB's own: two databases are given the same
// writes and must answer alike, whatever the keys, at every moment that was kept.
#include <rocksdb/db.h>

#include <random>
#include <stdexcept>

#include "adapters/rocksdb/memtable_order.h"
#include "adapters/rocksdb/tests/store_scene.h"

namespace once::rocksdb {
namespace {

using Lines = std::vector<std::string>;

class TwinDatabase {
 public:
  TwinDatabase(const std::string& path,
               std::shared_ptr<::rocksdb::MemTableRepFactory> memtable_factory) {
    ::rocksdb::Options options;
    options.create_if_missing = true;
    if (memtable_factory != nullptr) options.memtable_factory = std::move(memtable_factory);
    const ::rocksdb::Status opened = ::rocksdb::DB::Open(options, path, &db_);
    if (!opened.ok()) throw std::runtime_error(opened.ToString());
  }
  ~TwinDatabase() {
    for (const ::rocksdb::Snapshot* moment : moments_) db_->ReleaseSnapshot(moment);
    delete db_;
  }
  TwinDatabase(const TwinDatabase&) = delete;
  TwinDatabase& operator=(const TwinDatabase&) = delete;

  ::rocksdb::DB& db() { return *db_; }
  void KeepMoment() { moments_.push_back(db_->GetSnapshot()); }

  // All that can be asked, now and at every moment that was kept.
  Lines Answers(const Lines& keys) {
    Lines lines;
    moments_.push_back(nullptr);
    for (const ::rocksdb::Snapshot* moment : moments_) {
      ::rocksdb::ReadOptions options;
      options.snapshot = moment;
      for (const std::string& key : keys) {
        std::string value;
        const ::rocksdb::Status found = db_->Get(options, key, &value);
        lines.push_back(found.ToString() + value);
      }
      const std::unique_ptr<::rocksdb::Iterator> rows(db_->NewIterator(options));
      const auto add = [&] {
        lines.push_back((rows->key().ToString() += "=") += rows->value().ToString());
      };
      for (rows->SeekToFirst(); rows->Valid(); rows->Next()) add();
      for (rows->SeekToLast(); rows->Valid(); rows->Prev()) add();
      for (const std::string& key : keys) {
        rows->Seek(key);
        if (rows->Valid()) add();
        rows->SeekForPrev(key);
        if (rows->Valid()) add();
      }
      EXPECT_TRUE(rows->status().ok());
    }
    moments_.pop_back();
    return lines;
  }

 private:
  ::rocksdb::DB* db_ = nullptr;
  std::vector<const ::rocksdb::Snapshot*> moments_;
};

// Some are prefixes of others, some have sizes that take two bytes, some differ in bytes beyond 127
// only.
std::string DrawKey(std::mt19937& random) {
  std::string key(random() % 8 == 0 ? 116 + random() % 8 : random() % 12, 'k');
  for (int flips = 2; flips > 0 && !key.empty(); --flips) {
    key[random() % key.size()] = static_cast<char>(random() % 4 == 0 ? random() % 256 : 'j');
  }
  return key;
}

class RocksMemtables : public ::testing::TestWithParam<unsigned> {
 protected:
  ScratchFolder folder_;
};

TEST_P(RocksMemtables, AnswerAsThoseOfRocksDb) {
  TwinDatabase ours(folder_.File("ours"), SkipListInByteOrder());
  TwinDatabase theirs(folder_.File("theirs"), nullptr);
  std::mt19937 random(GetParam());
  Lines keys;
  for (int i = 0; i < 120; ++i) keys.push_back(DrawKey(random));
  for (int step = 0; step < 600; ++step) {
    const std::string& key = keys[random() % keys.size()];
    const bool is_deletion = random() % 4 == 0;
    const std::string value = std::to_string(step);
    const bool is_kept = random() % 100 == 0;
    for (TwinDatabase* twin : {&ours, &theirs}) {
      const ::rocksdb::Status written =
          is_deletion ? twin->db().Delete({}, key) : twin->db().Put({}, key, value);
      ASSERT_TRUE(written.ok()) << written.ToString();
      if (is_kept) twin->KeepMoment();
    }
  }
  EXPECT_EQ(ours.Answers(keys), theirs.Answers(keys));
  for (TwinDatabase* twin : {&ours, &theirs}) ASSERT_TRUE(twin->db().Flush({}).ok());
  EXPECT_EQ(ours.Answers(keys), theirs.Answers(keys)) << "in files";
}

INSTANTIATE_TEST_SUITE_P(Seeds, RocksMemtables, ::testing::Range(0u, 8u));

TEST(RocksMemtableOrder, OfTheSameKeyPutTheNewestFirst) {
  const auto entry = [](std::string key, std::uint64_t number) {
    for (int shift = 0; shift < 64; shift += 8) key += static_cast<char>(number >> shift & 0xff);
    return std::string(1, static_cast<char>(key.size())) + key;
  };
  const auto& order = ByteOrderOfEntries();
  const auto compare = [&](const std::string& a, const std::string& b) {
    EXPECT_EQ(order(a.data(), order.decode_key(b.data())), order(a.data(), b.data()));
    return order(a.data(), b.data());
  };
  EXPECT_LT(compare(entry("a", 256), entry("a", 255)), 0);
  EXPECT_GT(compare(entry("a", 1), entry("a", std::uint64_t{1} << 63)), 0);
  EXPECT_EQ(compare(entry("a", 7), entry("a", 7)), 0);
  EXPECT_LT(compare(entry("", 1), entry("a", 2)), 0);
  EXPECT_LT(compare(entry("a", 1), entry("a\x01", 2)), 0);
  EXPECT_GT(compare(entry("\xff", 2), entry("\x7f", 1)), 0);
}

}  // namespace
}  // namespace once::rocksdb
