// When one batch may follow another without a look at what became of that.
// Pure.
#pragma once

#include "src/work_order.h"

namespace once {

// All that the batch was given is settled and committed, and nothing has to wait or to stop.
bool IsSettledWhole(const BatchOrder& batch);

// False: `next` must not begin. True: it may, and it expects of the rows what `ended` has made of
// them. REQUIRES: both are batches of a transactional handler, and `next` was chosen while `ended`
// ran.
bool MayFollow(const WorkOrder& ended, WorkOrder& next);

}  // namespace once
