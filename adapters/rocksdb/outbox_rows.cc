// Outbox rows and the three indexes over them.
#include "adapters/rocksdb/outbox_rows.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/rocksdb/status.h"
#include "once/abseil.h"
#include "src/stores/outbox_codec.h"

namespace once::rocksdb {

using stores::OutboxState;

absl::StatusOr<std::vector<std::int64_t>> FindSequences(const View& view, char table,
                                                        std::int64_t after, std::size_t rows_max) {
  std::vector<std::int64_t> sequences;
  absl::Status damage;
  const auto visit = [&](std::string_view key, std::string_view) {
    if (sequences.size() == rows_max) return false;
    const auto sequence = SequenceOf(key);
    damage.Update(sequence.status());
    if (sequence.ok()) sequences.push_back(*sequence);
    return sequence.ok();
  };
  const std::string end = EndOfPrefix(std::string(1, table));
  damage.Update(view.Scan(kRowsFamily, SequenceKey(table, after + 1), end, visit));
  if (!damage.ok()) return damage;
  return sequences;
}

absl::StatusOr<OutboxEntry> FindEntry(const View& view, std::int64_t sequence) {
  const auto found = view.Get(kRowsFamily, SequenceKey(kOutboxTable, sequence));
  if (!found.ok()) return found.status();
  absl::StatusOr<OutboxEntry> entry = DecodeEntry(found->value_or(""));
  if (entry.ok()) return entry;
  return DamagedRow(absl::StrCat("outbox row ", sequence));
}

absl::StatusOr<stores::KeptLetter> LetterOf(const View& view, const stores::LeaseClock& clock,
                                            std::int64_t number, const OutboxEntry& entry,
                                            FindRows find_rows) {
  stores::KeptLetter kept;
  StoredFailure& failure = kept.failure;
  absl::StatusOr<OutboxOrigin> origin = stores::DecodeOrigin(entry.origin);
  absl::StatusOr<OutgoingMessage> letter = stores::DecodeMessage(entry.payload.value_or(""));
  if (!origin.ok() || !letter.ok()) return DamagedRow(absl::StrCat("outbox row ", number));
  failure = {.number = number,
             .origin = *std::move(origin),
             .scope = entry.scope,
             .id = entry.id,
             .is_published = entry.state == OutboxState::kPublished,
             .parked_reason = entry.state == OutboxState::kParked ? entry.reason : "",
             .letter = *std::move(letter)};
  if (entry.id.empty()) return kept;
  const IdKey key{.scope = entry.scope, .id = entry.id};
  absl::StatusOr<stores::IdRows> rows = find_rows(key);
  if (!rows.ok()) return rows.status();
  kept.rows = *std::move(rows);
  failure.state = stores::VisibleRecord(kept.rows, clock).state;
  const auto redrives = view.Get(kRowsFamily, Key(kRedriveTable, EncodeIdKey(key)));
  if (!redrives.ok()) return redrives.status();
  if (!*redrives) return kept;
  const absl::StatusOr<Redrives> decoded = DecodeRedrives(**redrives);
  if (!decoded.ok()) return decoded.status();
  failure.redrives = decoded->count;
  return kept;
}

absl::StatusOr<std::optional<std::int64_t>> OutboxRows::FindOrigin(const std::string& origin) {
  const auto found = batch_.view().Get(kRowsFamily, Key(kOriginTable, origin));
  if (!found.ok()) return found.status();
  if (!*found) return std::nullopt;
  const auto sequence = DecodeNumber(**found);
  if (!sequence.ok()) return sequence.status();
  return static_cast<std::int64_t>(*sequence);
}

absl::StatusOr<std::optional<OutboxEntry>> OutboxRows::Find(std::int64_t sequence) {
  const auto found = batch_.view().Get(kRowsFamily, SequenceKey(kOutboxTable, sequence));
  if (!found.ok()) return found.status();
  if (!*found) return std::nullopt;
  absl::StatusOr<OutboxEntry> entry = DecodeEntry(**found);
  if (!entry.ok()) return entry.status();
  return *std::move(entry);
}

absl::Status OutboxRows::PutEntry(std::int64_t sequence, const OutboxEntry& entry) {
  absl::Status put =
      batch_.Put(kRowsFamily, SequenceKey(kOutboxTable, sequence), EncodeEntry(entry));
  const auto index = [&](bool is_in, const std::string& key) {
    if (!put.ok()) return;
    put = is_in ? batch_.Put(kRowsFamily, key, "") : batch_.Delete(kRowsFamily, key);
  };
  index(entry.state == OutboxState::kPending, SequenceKey(kWaitingTable, sequence));
  index(entry.is_kept, SequenceKey(kKeptTable, sequence));
  if (!put.ok() || entry.id.empty() || entry.ordinal != 0) return put;
  index(entry.is_kept, LetterKey({.scope = entry.scope, .id = entry.id}, sequence));
  if (entry.is_kept) database_.NoteLetters();
  return put;
}

absl::StatusOr<bool> OutboxRows::PutRow(const OutboxRow& row) {
  OutboxEntry entry{.is_kept = row.origin.ordinal == 0,
                    .ordinal = row.origin.ordinal,
                    .origin = stores::EncodeOrigin(row.origin),
                    .payload = stores::EncodeMessage(row.message),
                    .scope = row.id.empty() ? "" : row.scope,
                    .id = row.id};
  const auto taken = FindOrigin(entry.origin);
  if (!taken.ok()) return taken.status();
  if (*taken) return false;
  const std::int64_t sequence = database_.NextSequence();
  absl::Status put = batch_.Put(kRowsFamily, Key(kOriginTable, entry.origin),
                                EncodeNumber(static_cast<std::uint64_t>(sequence)));
  if (put.ok()) put = PutEntry(sequence, entry);
  const IdKey key{.scope = entry.scope, .id = entry.id};
  if (put.ok() && !row.id.empty() && row.origin.ordinal < 0) {
    put = CountRedrive(key, row.origin.ordinal);
  }
  if (put.ok() && !row.id.empty() && entry.is_kept) put = VoidLetters(key, sequence);
  if (!put.ok()) return put;
  return true;
}

absl::Status OutboxRows::HoldLetter(const IdKey& key, const OutboxRow& row) {
  const OutboxEntry entry{.state = OutboxState::kHeld,
                          .is_kept = true,
                          .origin = stores::EncodeOrigin(row.origin),
                          .payload = stores::EncodeMessage(row.message),
                          .scope = std::string(key.scope),
                          .id = std::string(key.id)};
  const auto taken = FindOrigin(entry.origin);
  if (!taken.ok()) return taken.status();
  if (*taken) {
    if (absl::Status removed = Remove(**taken); !removed.ok()) return removed;
  }
  const std::int64_t sequence = database_.NextSequence();
  absl::Status put = batch_.Put(kRowsFamily, Key(kOriginTable, entry.origin),
                                EncodeNumber(static_cast<std::uint64_t>(sequence)));
  if (put.ok()) put = PutEntry(sequence, entry);
  return put.ok() ? VoidLetters(key, sequence) : put;
}

absl::Status OutboxRows::Remove(std::int64_t sequence) {
  absl::StatusOr<std::optional<OutboxEntry>> entry = Find(sequence);
  if (!entry.ok() || !*entry) return entry.status();
  // Out of every index first.
  (*entry)->state = OutboxState::kPublished;
  (*entry)->is_kept = false;
  if (absl::Status put = PutEntry(sequence, **entry); !put.ok()) return put;
  return batch_.Delete(kRowsFamily, SequenceKey(kOutboxTable, sequence));
}

absl::StatusOr<std::vector<std::int64_t>> OutboxRows::FindLetters(const IdKey& key) {
  std::vector<std::int64_t> letters;
  absl::Status damage;
  const auto visit = [&](std::string_view found, std::string_view) {
    const auto sequence = SequenceOf(found);
    damage.Update(sequence.status());
    if (sequence.ok()) letters.push_back(*sequence);
    return sequence.ok();
  };
  const std::string prefix = LetterPrefix(key);
  damage.Update(batch_.view().Scan(kRowsFamily, prefix, EndOfPrefix(prefix), visit));
  if (!damage.ok()) return damage;
  return letters;
}

absl::Status OutboxRows::MarkLetterPublished(const IdKey& key) {
  const auto letters = FindLetters(key);
  if (!letters.ok()) return letters.status();
  for (const std::int64_t sequence : *letters) {
    absl::StatusOr<std::optional<OutboxEntry>> entry = Find(sequence);
    if (!entry.ok()) return entry.status();
    if (!*entry || (*entry)->state != OutboxState::kHeld) continue;
    (*entry)->state = OutboxState::kPublished;
    if (absl::Status put = PutEntry(sequence, **entry); !put.ok()) return put;
  }
  return absl::OkStatus();
}

absl::Status OutboxRows::LetGo(std::int64_t sequence) {
  absl::StatusOr<std::optional<OutboxEntry>> entry = Find(sequence);
  if (!entry.ok() || !*entry) return entry.status();
  (*entry)->is_kept = false;
  if ((*entry)->state != OutboxState::kPending) (*entry)->payload.reset();
  return PutEntry(sequence, **entry);
}

absl::Status OutboxRows::VoidLetters(const IdKey& key, std::int64_t except) {
  if (!database_.has_letters()) return absl::OkStatus();
  const auto letters = FindLetters(key);
  if (!letters.ok()) return letters.status();
  for (const std::int64_t sequence : *letters) {
    if (sequence == except) continue;
    if (absl::Status gone = LetGo(sequence); !gone.ok()) return gone;
  }
  return absl::OkStatus();
}

absl::Status OutboxRows::DropLetter(std::int64_t number) { return LetGo(number); }

absl::StatusOr<std::optional<stores::KeptLetter>> OutboxRows::FindLetter(std::int64_t number) {
  const auto entry = Find(number);
  if (!entry.ok()) return entry.status();
  if (!*entry || !(*entry)->is_kept) return std::nullopt;
  absl::StatusOr<stores::KeptLetter> letter =
      LetterOf(batch_.view(), database_.clock(), number, **entry,
               [this](const IdKey& key) { return ids_.Find(key); });
  if (!letter.ok()) return letter.status();
  return *std::move(letter);
}

absl::StatusOr<std::int32_t> OutboxRows::NextRedrive(const IdKey& key) {
  const auto found = batch_.view().Get(kRowsFamily, Key(kRedriveTable, EncodeIdKey(key)));
  if (!found.ok()) return found.status();
  if (!*found) return -1;
  const absl::StatusOr<Redrives> redrives = DecodeRedrives(**found);
  if (!redrives.ok()) return redrives.status();
  return redrives->last_ordinal - 1;
}

absl::Status OutboxRows::CountRedrive(const IdKey& key, std::int32_t ordinal) {
  const std::string where = Key(kRedriveTable, EncodeIdKey(key));
  const auto found = batch_.view().Get(kRowsFamily, where);
  if (!found.ok()) return found.status();
  const auto before = *found ? DecodeRedrives(**found) : absl::StatusOr<Redrives>(Redrives{});
  if (!before.ok()) return before.status();
  return batch_.Put(kRowsFamily, where,
                    EncodeRedrives({.count = before->count + 1,
                                    .last_ordinal = std::min(before->last_ordinal, ordinal)}));
}

absl::Status OutboxRows::MarkPublished(std::int64_t sequence) {
  absl::StatusOr<std::optional<OutboxEntry>> entry = Find(sequence);
  if (!entry.ok()) return entry.status();
  if (!*entry || (*entry)->state != OutboxState::kPending) return absl::OkStatus();
  (*entry)->state = OutboxState::kPublished;
  if (!(*entry)->is_kept) (*entry)->payload.reset();
  return PutEntry(sequence, **entry);
}

absl::Status OutboxRows::Park(std::int64_t sequence, std::string_view reason) {
  absl::StatusOr<std::optional<OutboxEntry>> entry = Find(sequence);
  if (!entry.ok()) return entry.status();
  if (!*entry || (*entry)->state != OutboxState::kPending) return absl::OkStatus();
  (*entry)->state = OutboxState::kParked;
  (*entry)->reason = std::string(reason);
  return PutEntry(sequence, **entry);
}

}  // namespace once::rocksdb
