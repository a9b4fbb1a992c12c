// A message is handled after all that came before it in its partition: a batch follows only where
// nothing of the former is left.
#include "src/batch_succession.h"

#include <algorithm>

#include "src/test_hooks.h"

namespace once {
namespace {

bool IsSettledWhole(const WorkPartition& work) {
  const bool has_rest = std::any_of(work.items.begin(), work.items.end(), [](const WorkItem& item) {
    return item.verdict == Verdict::kUnsettled;
  });
  return work.is_committed && work.stop.ok() && !has_rest;
}

}  // namespace

bool IsSettledWhole(const BatchOrder& batch) {
  return batch.end == BatchEnd::kCommitted &&
         std::all_of(batch.partitions.begin(), batch.partitions.end(),
                     [](const WorkPartition& work) { return IsSettledWhole(work); });
}

bool MayFollow(const WorkOrder& ended, WorkOrder& next) {
  const bool is_over = ended.finish_early || ended.doomed;
  const bool may_follow = IsSettledWhole(*ended.batch) || ONCE_PLANTED_BUG("failure-is-followed");
  if (is_over || !may_follow) return false;
  for (WorkPartition& work : next.batch->partitions) {
    if (!work.place_before) continue;
    const WorkPartition& before = ended.batch->partitions[*work.place_before];
    if (!before.is_committed) continue;  // only with the planted bug
    work.lock.expected = before.committed;
    work.reach = before.reach;
    work.last_applied = before.last_applied;
    work.attempt.reset();
  }
  return true;
}

}  // namespace once
