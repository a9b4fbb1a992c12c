// The views that a store wants.
#include "src/owned_note.h"

namespace once {

absl::Status PutNotes(StoreTransaction& transaction, const std::vector<OwnedNote>& notes) {
  if (notes.empty()) return absl::OkStatus();
  std::vector<Note> views;
  views.reserve(notes.size());
  for (const OwnedNote& note : notes) views.push_back({.key = note.key, .value = note.value});
  return transaction.PutNotes(views);
}

}  // namespace once
