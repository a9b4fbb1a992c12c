// What a store holds, as far as the contract shows it: positions, ids, letters.
#include <algorithm>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/campaign/store_writer.h"

namespace once::campaign {
namespace {

constexpr std::size_t kIdsPerLookup = 1000;
constexpr std::size_t kLettersMax = 1'000'000;

void AddPositions(StoreOperations& operations, std::vector<std::string>& lines) {
  const auto positions = operations.ListPositions();
  if (!positions.ok()) {
    lines.push_back("DAMAGED: " + positions.status().ToString());
    return;
  }
  for (const StoredPosition& row : *positions) {
    lines.push_back(absl::StrCat("position of ", row.key.partition.topic, " ",
                                 row.key.partition.partition, " ", row.stamp.position, " reach ",
                                 row.reach));
  }
}

void AddLetters(DedupStore& store, std::vector<std::string>& lines) {
  const auto pending = store.transactions()->outbox().FindPending(kLettersMax);
  const auto kept = store.operations()->FindFailures({.letters_max = kLettersMax});
  if (!pending.ok() || !kept.ok()) {
    lines.push_back(
        absl::StrCat("DAMAGED: ", pending.status().ToString(), ", ", kept.status().ToString()));
    return;
  }
  for (const PendingRow& row : *pending) {
    lines.push_back(absl::StrCat("letter ", row.message.key.value_or("null"), " to ",
                                 row.message.topic, " of ", row.message.value.value_or("").size(),
                                 " bytes"));
  }
  for (const StoredFailure& failure : *kept) {
    lines.push_back(absl::StrCat("kept ", failure.id, " at ", failure.origin.offset, " state ",
                                 static_cast<int>(failure.state), " published ",
                                 static_cast<int>(failure.is_published), " redrives ",
                                 failure.redrives));
  }
}

void AddIds(DedupStore& store, const std::vector<std::string>& ids,
            std::vector<std::string>& lines) {
  auto begun = store.transactions()->Begin({});
  if (!begun.ok()) {
    lines.push_back("DAMAGED: " + begun.status().ToString());
    return;
  }
  for (std::size_t first = 0; first < ids.size(); first += kIdsPerLookup) {
    const std::size_t count = std::min(kIdsPerLookup, ids.size() - first);
    std::vector<IdKey> keys;
    for (std::size_t i = first; i < first + count; ++i) keys.push_back({"scope", ids[i]});
    std::vector<IdRecord> records(count);
    if (const absl::Status found = begun->transaction->FindIds(keys, records); !found.ok()) {
      lines.push_back("DAMAGED: " + found.ToString());
      break;
    }
    for (std::size_t i = 0; i < count; ++i) {
      const IdRecord& record = records[i];
      if (record.state == IdState::kAbsent) continue;
      lines.push_back(absl::StrCat("id ", ids[first + i], " state ", static_cast<int>(record.state),
                                   " print ", record.fingerprint.high, " ", record.fingerprint.low,
                                   " attempt ", record.attempt, " not before ",
                                   absl::ToUnixMicros(record.not_before)));
    }
  }
  begun->transaction->Rollback();
}

}  // namespace

std::vector<std::string> DumpThroughContract(DedupStore& store, std::int64_t steps) {
  std::vector<std::string> lines;
  const auto findings = store.maintenance()->Verify({});
  if (!findings.ok()) lines.push_back("DAMAGED: " + findings.status().ToString());
  if (findings.ok()) {
    for (const std::string& finding : *findings) lines.push_back("DAMAGED: " + finding);
  }
  AddPositions(*store.operations(), lines);
  AddLetters(store, lines);
  AddIds(store, StoreWriter::IdsOf(steps), lines);
  return lines;
}

}  // namespace once::campaign
