// The header of a simulated message by its name. Private to src/testing.
// Thread-safety: pure.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "once/message.h"

namespace once::testing {

// The last header of that name, as consumers read them; "" where there is none or it is null.
inline std::string HeaderText(const std::vector<OwnedHeader>& headers, std::string_view name) {
  const auto found = std::find_if(headers.rbegin(), headers.rend(),
                                  [&](const OwnedHeader& header) { return header.name == name; });
  return found == headers.rend() ? "" : found->value.value_or("");
}

}  // namespace once::testing
