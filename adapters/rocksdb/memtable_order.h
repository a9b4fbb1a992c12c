// What is in no file yet lies in RocksDB's skip list, in the order of the keys' bytes.
// RocksDB compares them by way of everything that may be set about an order; here only the bytes
// are compared, which is what our column families are ordered by, and costs a fraction of it.
#pragma once

#include <rocksdb/memtablerep.h>

#include <memory>

namespace once::rocksdb {

// For column families with RocksDB's own comparator of bytes and without timestamps of the user's.
std::shared_ptr<::rocksdb::MemTableRepFactory> SkipListInByteOrder();

// The order itself, of entries as a memtable holds them.
const ::rocksdb::MemTableRep::KeyComparator& ByteOrderOfEntries();

}  // namespace once::rocksdb
