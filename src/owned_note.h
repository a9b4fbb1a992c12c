// A note that is to be written with a transaction (once/transaction.h).
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "once/transaction.h"

namespace once {

struct OwnedNote {
  std::string key;
  std::string value;
};

absl::Status PutNotes(StoreTransaction& transaction, const std::vector<OwnedNote>& notes);

}  // namespace once
