// A Delivery is one buffered message together with whatever keeps its bytes alive: the batch it
// came in, or a copy of its own once it has to wait.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "once/batch.h"
#include "once/message.h"
#include "src/held_claim.h"

namespace once {

class Delivery {
 public:
  // `message` belongs to `batch`.
  Delivery(std::shared_ptr<Batch> batch, Message& message)
      : batch_(std::move(batch)), message_(&message) {
    bytes_ = sizeof(Delivery) + (message.key() ? message.key()->size() : 0) +
             (message.value() ? message.value()->size() : 0);
  }

  Message& message() const { return *message_; }
  // Key and value, without headers: what the buffer bound counts.
  std::size_t bytes() const { return bytes_; }

  // What this process holds in the claim store for it; null: nothing. Plain handlers only.
  std::unique_ptr<HeldClaim>& held() { return held_; }

  // Copies the message and lets go of the batch: a message that waits must not pin the broker's
  // receive buffer.
  void Own() {
    if (owned_) return;
    owned_ = std::make_unique<OwnedMessage>(*message_);
    message_ = &owned_->message();
    batch_.reset();
  }

 private:
  std::shared_ptr<Batch> batch_;
  std::unique_ptr<OwnedMessage> owned_;
  Message* message_;
  std::size_t bytes_ = 0;
  std::unique_ptr<HeldClaim> held_;
};

}  // namespace once
