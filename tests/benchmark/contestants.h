// What is compared. Each contestant runs in a process of its own, consumes the whole topic in a
// group of its own and says how long that took, from the first message that reached it to the last
// one that it was done with.
#pragma once

#include <cstdint>
#include <string>

namespace once::benchmark {

struct Task {
  std::string brokers;
  std::string topic;
  std::string group;
  std::int64_t messages = 0;
  std::string postgres;  // a server, as libpq names it
  std::string database;  // where those with a store put it: a file or a folder
};

struct Finish {
  double seconds = 0;
  std::int64_t messages = 0;    // taken from the topic
  std::int64_t processed = 0;   // … of which had an effect
  std::int64_t duplicates = 0;  // … and which had none, as second copies
};

// librdkafka's batch consume, each message released at once: the limit.
Finish ConsumeRaw(const Task& task);
Finish ConsumeRawWithHeaders(const Task& task);

// What one writes by hand, librdkafka and 500 messages per synced transaction: ids alone, or with a
// row for each new one.
Finish ConsumeByHandWithSqlite(const Task& task);
Finish ConsumeByHandWithSqliteRows(const Task& task);
Finish ConsumeByHandWithRocksdb(const Task& task);
Finish ConsumeByHandWithRocksdbRows(const Task& task);

// A once::Consumer, with a transactional handler that does nothing, or adds the same row.
Finish ConsumeWithMemoryStore(const Task& task);
Finish ConsumeWithSqliteStore(const Task& task);
Finish ConsumeWithSqliteRows(const Task& task);
Finish ConsumeWithRocksdbStore(const Task& task);
Finish ConsumeWithRocksdbRows(const Task& task);

// The same without rows, by the numbers of the messages, and with an eye on losses.
Finish ConsumeBySequenceWithSqlite(const Task& task);
Finish ConsumeBySequenceWithRocksdb(const Task& task);
Finish ConsumeBySequenceAndWatchWithRocksdb(const Task& task);

// Over PostgreSQL, with rows: statement by statement, and a batch in one statement.
Finish ConsumeByHandWithPostgresRows(const Task& task);
Finish ConsumeByHandWithPostgresArrays(const Task& task);
Finish ConsumeWithPostgresRows(const Task& task);
Finish ConsumeWithPostgresBatches(const Task& task);

}  // namespace once::benchmark
