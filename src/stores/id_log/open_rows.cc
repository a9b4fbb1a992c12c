// version, state, fingerprint, attempt, two times, extra, checksum.
#include "src/stores/id_log/open_rows.h"

#include <limits>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/stores/bytes.h"
#include "src/stores/id_log/block_filter.h"
#include "src/stores/id_log/checksum.h"

namespace once::stores {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr auto kMicrosPast = std::numeric_limits<std::int64_t>::min();
constexpr auto kMicrosFuture = std::numeric_limits<std::int64_t>::max();

// ToUnixMicros() saturates at the ends, which stand for the infinities.
absl::Time TimeOf(std::int64_t micros) {
  if (micros == kMicrosPast) return absl::InfinitePast();
  if (micros == kMicrosFuture) return absl::InfiniteFuture();
  return absl::FromUnixMicros(micros);
}

}  // namespace

std::string EncodeOpenRow(const IdKey& key, const IdRecord& record, std::string_view extra) {
  std::string out;
  AppendInt(out, kVersion);
  AppendInt(out, static_cast<std::uint8_t>(record.state));
  AppendPrint(out, record.fingerprint);
  AppendInt(out, std::int32_t{record.attempt});
  AppendInt(out, absl::ToUnixMicros(record.first_failed_at));
  AppendInt(out, absl::ToUnixMicros(record.not_before));
  AppendText(out, extra);
  AppendChecksum(out, StableHashOf(key));
  return out;
}

absl::StatusOr<OpenRow> DecodeOpenRow(const IdKey& key, std::string_view bytes) {
  const auto content = WithoutChecksum(bytes, StableHashOf(key));
  ByteReader reader(content.value_or(""));
  reader.Require(reader.TakeInt<std::uint8_t>() == kVersion);
  const auto state = reader.TakeInt<std::uint8_t>();
  reader.Require(state <= static_cast<std::uint8_t>(IdState::kDying));
  OpenRow row{.record = {.state = static_cast<IdState>(state), .fingerprint = reader.TakePrint()}};
  row.record.attempt = reader.TakeInt<std::int32_t>();
  row.record.first_failed_at = TimeOf(reader.TakeInt<std::int64_t>());
  row.record.not_before = TimeOf(reader.TakeInt<std::int64_t>());
  row.extra = reader.TakeText();
  if (reader.is_done()) return row;
  return absl::DataLossError(absl::StrCat("id log: the open row of ",
                                          absl::CHexEscape(ToAbsl(key.id)),
                                          " is not as it was written; restore a backup"));
}

std::uint32_t OpenRows::FindSlot(const IdKey& key, std::uint64_t hash) const {
  return index_.Find(hash, [&](std::uint32_t number) {
    return slots_[number].id == key.id && slots_[number].scope == key.scope;
  });
}

const OpenRow* OpenRows::Find(const IdKey& key, std::uint64_t hash) const {
  const std::uint32_t slot = FindSlot(key, hash);
  return slot == HashIndex::kNone ? nullptr : &slots_[slot].row;
}

void OpenRows::Put(const IdKey& key, std::uint64_t hash, OpenRow row) {
  std::uint32_t number = FindSlot(key, hash);
  if (number == HashIndex::kNone) {
    if (free_.empty()) {
      free_.push_back(static_cast<std::uint32_t>(slots_.size()));
      slots_.emplace_back();
    }
    number = free_.back();
    free_.pop_back();
    slots_[number].scope = key.scope;
    slots_[number].id = key.id;
    index_.Insert(hash, number);
  }
  slots_[number].row = std::move(row);
}

void OpenRows::Erase(const IdKey& key, std::uint64_t hash) {
  const std::uint32_t number = FindSlot(key, hash);
  if (number == HashIndex::kNone) return;
  index_.Erase(hash, number);
  slots_[number] = Slot{};
  free_.push_back(number);
}

void OpenRows::ForEach(absl::FunctionRef<void(const IdKey&, const OpenRow&)> visit) const {
  for (const Slot& slot : slots_) {
    if (!slot.id.empty()) visit({.scope = slot.scope, .id = slot.id}, slot.row);
  }
}

}  // namespace once::stores
