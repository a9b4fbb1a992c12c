// Through StoreOperations, as the `once` command does it.
#include "tests/campaign/redrive.h"

#include <signal.h>
#include <sys/prctl.h>

#include <iostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "once/dead_letter.h"
#include "once/sqlite/store.h"

namespace once::campaign {

int RedriveAll(const Json& task) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const auto store = sqlite::OpenStore({.path = task.at("store"), .serve_operators = false});
  const auto failures = store.ok() ? (*store)->operations()->FindFailures({})
                                   : absl::StatusOr<std::vector<StoredFailure>>(store.status());
  if (!failures.ok()) {
    std::cerr << failures.status() << "\n";
    return 2;
  }
  for (const StoredFailure& failure : *failures) {
    if (failure.state != IdState::kDead) continue;  // a conflict, or redriven before
    const absl::Status redriven = (*store)->operations()->Redrive(
        {.number = failure.number,
         .row = {.message = MakeRedrive(failure.letter, failure.origin.key.partition,
                                        absl::StrCat("redrive-", failure.number), 1)}});
    if (redriven.ok()) continue;
    std::cerr << redriven << "\n";
    return 1;
  }
  return 0;
}

}  // namespace once::campaign
