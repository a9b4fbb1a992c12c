// A Batch is what one poll returned: messages of any number of partitions, in the order in which
// the source delivered them, and the broker client's buffers they point into. Destroying it gives
// the buffers back, so it also keeps whatever those need alive (a Kafka client handle must go
// last). Thread-safety: move it between threads freely, use it from one at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "once/message.h"

namespace once {

class Batch {
 public:
  Batch() = default;
  // `buffers` is released after the messages; it owns everything they point to.
  Batch(std::vector<Message> messages, std::shared_ptr<const void> buffers)
      : buffers_(std::move(buffers)), messages_(std::move(messages)) {}

  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;
  Batch(Batch&&) = default;
  Batch& operator=(Batch&&) = default;

  bool empty() const { return messages_.empty(); }
  std::size_t size() const { return messages_.size(); }
  std::span<Message> messages() { return messages_; }
  std::span<const Message> messages() const { return messages_; }

 private:
  std::shared_ptr<const void> buffers_;  // declared first: destroyed after messages_
  std::vector<Message> messages_;
};

}  // namespace once
