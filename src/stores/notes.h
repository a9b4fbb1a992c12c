// What stores check of notes before they keep them. Pure functions.
#pragma once

#include "absl/status/status.h"
#include "once/operations.h"
#include "once/transaction.h"

namespace once::stores {

// OK for a note within its bounds; else kInvalidArgument.
absl::Status CheckNote(const Note& note);

// The least key that comes after every key that begins with `prefix`; empty: there is none.
std::string BehindPrefix(std::string_view prefix);

// Where the notes of a query begin: at this key, or, if `is_behind`, behind it.
struct NoteStart {
  std::string key;
  bool is_behind = false;
};
NoteStart StartOf(const NoteQuery& query);

}  // namespace once::stores
