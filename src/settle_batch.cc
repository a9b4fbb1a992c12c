// How often a batch is tried, and with how many of its messages.
#include "src/settle_batch.h"

#include <cstddef>

#include "src/batch_transaction.h"

namespace once {
namespace {

// A batch handler that names only the first failure it meets is called again for each of them, so
// often; then its messages are tried one by one.
constexpr int kNamingPassesMax = 3;

BatchEnd ToBatchEnd(PassEnd end) {
  switch (end) {
    case PassEnd::kCommitted:
      return BatchEnd::kCommitted;
    case PassEnd::kMismatch:
      return BatchEnd::kMismatch;
    case PassEnd::kUnknown:
      return BatchEnd::kUnknown;
    case PassEnd::kDoomed:
      return BatchEnd::kDoomed;
    case PassEnd::kNothing:
      return BatchEnd::kNothing;
    case PassEnd::kStoreTrouble:
    case PassEnd::kFailedHandler:
    case PassEnd::kFailedMessages:
    case PassEnd::kRefusedCommit:
      break;
  }
  return BatchEnd::kStoreTrouble;
}

}  // namespace

void SettleBatch(const SettleContext& context, WorkOrder& order) {
  const absl::Time deadline = context.executor.Now() + context.batch_max_duration;
  BatchTransaction transaction(context, order, deadline);
  std::size_t count = transaction.size();
  // A pass fails at most once per message (its outcome is then decided upon, not repeated), and a
  // refused commit halves the batch: the number of passes is bounded by both.
  const std::size_t passes_max = 2 * transaction.size() + 64;
  order.batch->end = transaction.Mark();
  if (order.batch->end != BatchEnd::kPending) {
    if (order.batch->end == BatchEnd::kStoreTrouble) ++order.batch->rollbacks;
    return;
  }
  bool is_careful = false;
  int named = 0;  // passes that a batch handler ended by naming messages
  PassEnd end = PassEnd::kNothing;
  for (std::size_t pass = 0; pass < passes_max; ++pass) {
    end = transaction.Run(count, is_careful);
    if (end == PassEnd::kFailedMessages && ++named <= kNamingPassesMax) continue;
    if (end == PassEnd::kFailedMessages || end == PassEnd::kFailedHandler) {
      // The time that a call for the whole batch took is not the messages' own: each of them would
      // otherwise end its batch, and the next one begin with the same call again.
      if (!is_careful) transaction.Restart(context.executor.Now() + context.batch_max_duration);
      is_careful = true;
    } else if (end == PassEnd::kRefusedCommit && count > 1) {
      count = (count + 1) / 2;
      is_careful = true;
    } else if (end == PassEnd::kRefusedCommit) {
      transaction.ChargeFirst(transaction.error());
    } else {
      break;
    }
  }
  order.batch->error = transaction.error();
  order.batch->end = ToBatchEnd(end);
}

}  // namespace once
