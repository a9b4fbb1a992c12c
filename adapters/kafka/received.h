// Received collects the client's messages of one poll and makes them a Batch without copying keys
// or values: the Batch's buffers are the librdkafka messages themselves.
#pragma once

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "adapters/kafka/client.h"
#include "once/batch.h"
#include "once/message.h"

namespace once::kafka {

// Whether anybody reads the headers of a source's messages. Until somebody does, they are parsed at
// the first look, and a message whose headers nobody reads does not pay for them. Afterwards each
// message's headers are parsed and copied, and what librdkafka allocated for them is released, at
// once and on the polling thread: held until the message is settled, it costs two threads several
// slow calls of malloc and free per message.
class HeaderInterest {
 public:
  void Note() {
    if (!is_noted()) is_noted_.store(true, std::memory_order_relaxed);
  }
  bool is_noted() const { return is_noted_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> is_noted_ = false;
};

class Received {
 public:
  Received(std::shared_ptr<const Client> client, std::shared_ptr<HeaderInterest> interest);

  // At most so many will be added. REQUIRES: empty().
  void Reserve(std::size_t messages_max);
  // Takes `message` over. REQUIRES: there is room by Reserve().
  void Add(rd_kafka_message_t* message, std::uint64_t assignment);
  bool empty() const { return messages_.empty(); }
  std::size_t size() const { return messages_.size(); }
  Batch ToBatch() &&;

 private:
  struct Buffers;

  std::shared_ptr<Buffers> buffers_;
  std::vector<Message> messages_;
  // Topic objects are few and their names are asked for per message.
  const rd_kafka_topic_t* last_topic_ = nullptr;
  std::string_view last_topic_name_;
};

}  // namespace once::kafka
