// Received collects the client's messages of one poll and makes them a Batch without copying: the
// Batch's buffers are the librdkafka messages themselves.
#pragma once

#include <librdkafka/rdkafka.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "adapters/kafka/client.h"
#include "once/batch.h"
#include "once/message.h"

namespace once::kafka {

// Reads a `const rd_kafka_message_t*`. librdkafka parses the headers at the first look and writes
// them into the message; the reader serialises that, so several threads may read one message.
const HeaderReader* MessageHeaderReader();

class Received {
 public:
  explicit Received(std::shared_ptr<const Client> client);

  // So many may be added soon.
  void Reserve(std::size_t more);
  // Takes `message` over.
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
