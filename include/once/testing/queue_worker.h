// A queue worker is the loop that users of once::Wrap write by hand, as the subject of a
// simulation: get a delivery, call the guarded function under the message's id, acknowledge what is
// settled, and give back what is not.
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/executor.h"
#include "once/testing/fake_queue.h"
#include "once/wrap.h"

namespace once::testing {

// One delivery, and what there is to settle it with.
struct QueueTurn {
  QueueChannel& channel;
  const QueueDelivery& delivery;
  const std::function<absl::StatusOr<CallAnswer>(const QueueMessage&)>& call;
  Executor& executor;
};

// An error says that the channel has ended, and the delivery with it.
absl::Status SettleDelivery(const QueueTurn& turn);

// SettleDelivery's way to give a delivery back: not at once, or it would be the next one again.
absl::Status RequeueAfter(const QueueTurn& turn, absl::Duration wait);

}  // namespace once::testing
