// Bounds of notes, and of what is listed of them.
#include "src/stores/notes.h"

#include "absl/strings/str_cat.h"

namespace once::stores {

absl::Status CheckNote(const Note& note) {
  if (note.key.empty() || note.key.size() > kNoteKeyBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("a note's key has 1 to ", kNoteKeyBytesMax,
                                                   " bytes, this one ", note.key.size()));
  }
  if (note.value.size() > kNoteValueBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("a note has at most ", kNoteValueBytesMax,
                                                   " bytes, this one ", note.value.size()));
  }
  return absl::OkStatus();
}

std::string BehindPrefix(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xff') end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

NoteStart StartOf(const NoteQuery& query) {
  if (!query.after.empty() && query.after >= query.prefix) {
    return {.key = query.after, .is_behind = true};
  }
  return {.key = query.prefix};
}

}  // namespace once::stores
