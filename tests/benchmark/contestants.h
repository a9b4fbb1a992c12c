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
  std::string database;  // where the two with SQLite put their file
};

struct Finish {
  double seconds = 0;
  std::int64_t messages = 0;    // taken from the topic
  std::int64_t processed = 0;   // … of which had an effect
  std::int64_t duplicates = 0;  // … and which had none, as second copies
};

// librdkafka's batch consume, each message released at once: the limit.
Finish ConsumeRaw(const Task& task);

// What one writes by hand for effects that happen once: librdkafka, and per 500 messages one synced
// SQLite transaction with the ids and the effects.
Finish ConsumeByHand(const Task& task);

// A once::Consumer over the memory store, with a transactional handler that does nothing.
Finish ConsumeWithMemoryStore(const Task& task);

// A once::Consumer over SQLite, with a transactional handler that adds the same rows as
// ConsumeByHand.
Finish ConsumeWithSqliteStore(const Task& task);

}  // namespace once::benchmark
