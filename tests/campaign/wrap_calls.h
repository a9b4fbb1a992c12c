// Wrapped functions under attack: a process calls a function once per id of a list, again and again
// until each call is settled, and begins with the whole list anew after a crash, as a caller must
// that has forgotten how far it had come. There is no broker in this.
#pragma once

#include <string>
#include <vector>

#include "tests/campaign/campaign.h"
#include "tests/campaign/truth.h"

namespace once::campaign {

// The child. `task`: {"store": path, "effects": path, "history": path, "is_plain": …}.
int CallWrapped(const Json& task);

// What the list asks for, and what the store and the effects hold.
Truth ReadWrapTruth(const std::string& store, const std::string& effects, bool is_plain);

}  // namespace once::campaign
