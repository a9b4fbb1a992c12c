// Received collects the client's messages of one poll and makes them a Batch. Small ones it copies,
// all into one Arena, and gives them back to the client at once: a message that librdkafka keeps
// for us costs more to release later, when no cache has it any more, and what the client may use
// again it need not ask for. Large ones are the Batch's buffers themselves.
#pragma once

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "adapters/kafka/arena.h"
#include "adapters/kafka/client.h"
#include "once/batch.h"
#include "once/message.h"

namespace once::kafka {

// Whether anybody reads the headers of a source's messages. Until somebody does, they are parsed at
// the first look, and messages are not copied: their headers could not be given back unread.
// Afterwards each message's headers are parsed and copied, and what librdkafka allocated for them
// is released, at once and on the polling thread: held until the message is settled, it costs two
// threads several slow calls of malloc and free per message.
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
  // Of key and value together. Beyond it copying costs more than it saves.
  static constexpr std::size_t kCopiedBytesMax = 2048;

  Received(std::shared_ptr<const Client> client, std::shared_ptr<HeaderInterest> interest,
           std::shared_ptr<ChunkPool> chunks);

  // About so many will be added. REQUIRES: empty().
  void Reserve(std::size_t messages_max);
  // Takes `message` over, also where it throws.
  void Add(rd_kafka_message_t* message, std::uint64_t assignment);
  bool empty() const { return messages_.empty(); }
  std::size_t size() const { return messages_.size(); }
  Batch ToBatch() &&;

 private:
  struct Buffers;

  // How many names of headers are compared with those of the message before.
  static constexpr std::size_t kNamesMax = 16;

  std::string_view TopicOf(const rd_kafka_message_t& message, bool is_kept);
  const void* CopyHeaders(rd_kafka_message_t* message);
  std::string_view CopyName(const char* name, std::size_t place);

  std::shared_ptr<Buffers> buffers_;
  std::vector<Message> messages_;
  // Topic objects are few and their names are asked for per message.
  const rd_kafka_topic_t* last_topic_ = nullptr;
  std::string_view last_topic_name_;
  std::vector<std::string_view> last_names_;  // of headers, by place; terminated, in the arena
};

}  // namespace once::kafka
