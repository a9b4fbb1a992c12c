// Opening, looking up, and what a transaction does.
#include "src/stores/id_log/id_log.h"

#include <algorithm>
#include <cassert>
#include <functional>
#include <limits>
#include <numeric>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/id_hash.h"
#include "src/stores/id_log/id_source.h"
#include "src/stores/id_log/segment_codec.h"

namespace once::stores {
namespace {

// Storages number rows by signed integers.
constexpr auto kSegmentMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());

}  // namespace

IdLog::IdLog(SegmentStorage& storage, const IdLogOptions& options)
    : storage_(storage), options_(options), recent_(options.recent) {}

absl::StatusOr<std::unique_ptr<IdLog>> IdLog::Open(SegmentStorage& storage,
                                                   const IdLogOptions& options) {
  const bool is_page_sound =
      options.page_bytes >= kPageBytesMin && options.page_bytes <= kPageBytesMax;
  if (!is_page_sound || options.filter_bits < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("id log: pages of ", options.page_bytes, " bytes and filters of ",
                     options.filter_bits, " bits an id; pages have ", kPageBytesMin, " to ",
                     kPageBytesMax, " bytes, filters at least 1"));
  }
  std::unique_ptr<IdLog> log(new IdLog(storage, options));
  if (absl::Status loaded = log->Load(); !loaded.ok()) return loaded;
  return log;
}

absl::Status IdLog::Load() {
  const auto bytes = storage_.ReadManifest();
  if (!bytes.ok()) return bytes.status();
  if (*bytes) {
    auto manifest = DecodeManifest(**bytes);
    if (!manifest.ok()) return manifest.status();
    version_.manifest = *std::move(manifest);
  }
  for (const RunInfo& info : version_.manifest.runs) {
    auto run = SortedRun::Open(info, storage_);
    if (!run.ok()) return run.status();
    version_.runs.push_back(*std::move(run));
  }
  // What a compaction left that was never finished. Its number is not used before it is gone.
  const auto listed = storage_.ListRuns();
  if (!listed.ok()) return listed.status();
  next_run_ = version_.manifest.next_run;
  for (const std::uint32_t run : *listed) {
    next_run_ = std::max(next_run_, run + 1);
    const bool is_live = std::any_of(version_.runs.begin(), version_.runs.end(),
                                     [&](const auto& live) { return live->info().number == run; });
    if (!is_live) runs_to_drop_.push_back(run);
  }
  if (!*bytes) dropped_below_ = version_.manifest.first_segment;  // nothing was ever sealed
  if (absl::Status loaded = LoadNewestRuns(); !loaded.ok()) return loaded;
  if (absl::Status loaded = Resync(); !loaded.ok()) return loaded;
  // The first run is made from segments that stay until a manifest names it.
  if (!*bytes && !listed->empty() && unsealed_.empty()) {
    return absl::DataLossError("id log: there are runs and no manifest; restore a backup");
  }
  return absl::OkStatus();
}

absl::Status IdLog::LoadNewestRuns() {
  const std::uint64_t ids_max = options_.reload_bytes / RecentIds::kBytesPerId;
  std::size_t first = version_.runs.size();
  for (std::uint64_t ids = 0; first > 0; --first) {
    ids += version_.runs[first - 1]->info().ids;
    if (ids > ids_max) break;
  }
  const std::uint64_t from = first < version_.runs.size()
                                 ? version_.runs[first]->info().first_segment
                                 : version_.manifest.first_segment;
  recent_.Restart(from);
  recent_.MayForgetThrough(version_.manifest.first_segment - 1);
  for (; first < version_.runs.size(); ++first) {
    RunSource run(version_.runs[first], storage_);
    absl::StatusOr<bool> has_more = run.Next();
    for (; has_more.ok() && *has_more; has_more = run.Next()) {
      PutRecent(run.current(), version_.runs[first]->info().last_segment);
    }
    if (!has_more.ok()) return has_more.status();
  }
  return absl::OkStatus();
}

void IdLog::PutRecent(const StoredId& stored, std::uint64_t segment) {
  const UnpackedId id = Unpack(stored.form, stored.id);
  const IdKey key{.scope = stored.scope, .id = id.id()};
  recent_.Put(
      key, HashOf(key),
      {.state = IdState::kCompleted, .fingerprint = stored.fingerprint, .attempt = stored.attempt},
      segment);
}

absl::Status IdLog::Resync() {
  if (absl::Status loaded = LoadSegments(); !loaded.ok()) return loaded;
  auto open = LoadOpenRows();
  if (!open.ok()) return open.status();
  open_ = *std::move(open);
  is_commit_pending_ = false;
  return absl::OkStatus();
}

absl::Status IdLog::LoadSegments() {
  return storage_.ForEachSegment(
      next_segment(), kSegmentMax,
      [&](std::uint64_t number, std::string_view bytes) -> absl::Status {
        if (number != next_segment()) {
          return absl::DataLossError(absl::StrCat("id log: segment ", next_segment(),
                                                  " is missing before segment ", number,
                                                  "; restore a backup"));
        }
        const auto segment = Segment::Read(number, bytes);
        if (!segment.ok()) return segment.status();
        segment->ForEach([&](const StoredId& stored) { PutRecent(stored, number); });
        AddUnsealed(
            {.bytes = bytes.size(), .ids = segment->size(), .log_time_ms = segment->log_time_ms()});
        return absl::OkStatus();
      });
}

absl::StatusOr<OpenRows> IdLog::LoadOpenRows() {
  OpenRows rows;
  const absl::Status read =
      storage_.ForEachOpen([&](std::string_view encoded, std::string_view bytes) -> absl::Status {
        const std::optional<IdKey> key = DecodeIdKey(encoded);
        if (!key || key->id.empty()) {
          return absl::DataLossError("id log: an open row has no key; restore a backup");
        }
        auto row = DecodeOpenRow(*key, bytes);
        if (!row.ok()) return row.status();
        rows.Put(*key, HashOf(*key), *std::move(row));
        return absl::OkStatus();
      });
  if (!read.ok()) return read;
  return rows;
}

void IdLog::AddUnsealed(const Unsealed& segment) {
  unsealed_.push_back(segment);
  unsealed_bytes_ += segment.bytes;
}

bool IdLog::is_all_recent() const {
  return version_.runs.empty() ||
         recent_.complete_from() <= version_.manifest.runs.front().first_segment;
}

absl::Status IdLog::Find(std::span<const IdKey> keys, const IdChanges& changes,
                         std::span<IdRecord> records, OnOpen on_open) {
  if (is_commit_pending_ && changes.fates_.empty()) {
    return absl::UnavailableError("id log: the outcome of the last commit is not known yet");
  }
  return FindIn(changes.writes_.empty() ? nullptr : &changes.writes_, keys, records, on_open);
}

absl::Status IdLog::FindCommitted(std::span<const IdKey> keys, std::span<IdRecord> records,
                                  OnOpen on_open) const {
  return FindIn(nullptr, keys, records, on_open);
}

absl::Status IdLog::FindIn(const StagedWrites* staged, std::span<const IdKey> keys,
                           std::span<IdRecord> records, OnOpen on_open) const {
  assert(records.size() == keys.size());
  std::vector<std::uint64_t> hashes;
  hashes.reserve(keys.size());
  for (const IdKey& key : keys) hashes.push_back(HashOf(key));
  std::fill(records.begin(), records.end(), IdRecord{});
  IdQuery query{.keys = keys, .hashes = hashes, .records = records};
  query.pending.resize(keys.size());
  std::iota(query.pending.begin(), query.pending.end(), 0);
  const auto answer = [&](std::uint32_t i, const IdRecord& record, std::string_view extra) {
    records[i] = record;
    if (!extra.empty()) on_open(i, extra);
    return true;
  };
  if (staged != nullptr) {
    query.AnswerEach([&](std::uint32_t i) {
      const std::size_t newest = staged->FindNewest(keys[i], hashes[i]);
      if (newest == staged->size()) return false;
      const StagedWrites::Write write = staged->at(newest);
      return answer(i, write.record, write.extra);
    });
  }
  if (open_.size() > 0) {
    query.AnswerEach([&](std::uint32_t i) {
      const OpenRow* const row = open_.Find(keys[i], hashes[i]);
      return row != nullptr && answer(i, row->record, row->extra);
    });
  }
  return FindSealedAndRecent(query);
}

std::optional<IdLog::OpenId> IdLog::FindOpen(const IdKey& key, const IdChanges& changes) const {
  if (open_.size() == 0 && changes.writes_.empty()) return std::nullopt;
  const std::uint64_t hash = HashOf(key);
  const std::size_t newest = changes.writes_.FindNewest(key, hash);
  if (newest < changes.writes_.size()) {
    const StagedWrites::Write write = changes.writes_.at(newest);
    return OpenId{.record = write.record, .extra = write.extra};
  }
  const OpenRow* const row = open_.Find(key, hash);
  if (row == nullptr) return std::nullopt;
  return OpenId{.record = row->record, .extra = row->extra};
}

std::vector<std::string> IdLog::ListScopes() const {
  std::set<std::string, std::less<>> scopes;
  for (const std::string& scope : recent_.scopes()) scopes.insert(scope);
  for (const auto& run : version_.runs) scopes.insert(run->scopes().begin(), run->scopes().end());
  open_.ForEach([&](const IdKey& key, const OpenRow&) {
    if (!scopes.contains(key.scope)) scopes.emplace(key.scope);
  });
  return {scopes.begin(), scopes.end()};
}

absl::Status IdLog::FindSealedAndRecent(IdQuery& query) const {
  recent_.Find(query);
  if (query.pending.empty() || is_all_recent()) return absl::OkStatus();
  std::vector<std::uint64_t> hashes(query.keys.size());
  for (const std::uint32_t i : query.pending) hashes[i] = StableHashOf(query.keys[i]);
  // The newest first: what it says counts.
  for (auto run = version_.runs.rbegin(); run != version_.runs.rend(); ++run) {
    if (absl::Status found = (*run)->Find(hashes, storage_, query); !found.ok()) return found;
    if (query.pending.empty()) break;
  }
  return absl::OkStatus();
}

absl::Status IdLog::Stage(const IdWrite& write, std::string_view extra, IdChanges& changes) {
  assert(changes.fates_.empty());
  if (absl::Status valid = ValidateMessageId(write.key.id); !valid.ok()) return valid;
  changes.writes_.Add(write.key, HashOf(write.key), write.record, extra);
  return absl::OkStatus();
}

absl::StatusOr<IdChanges::Fate> IdLog::FateOf(const StagedWrites::Write& write) {
  using Fate = IdChanges::Fate;
  const bool is_open = open_.size() > 0 && open_.Find(write.key, write.hash) != nullptr;
  if (write.extra.empty() && RecentIds::CanKeep(write.key, write.record)) {
    return is_open ? Fate::kCompletedAndClosed : Fate::kCompleted;
  }
  if (write.record.state != IdState::kAbsent || !write.extra.empty()) return Fate::kOpened;
  // What segments know can only be overridden.
  IdRecord below;
  IdQuery query{
      .keys = {&write.key, 1}, .hashes = {&write.hash, 1}, .records = {&below, 1}, .pending = {0}};
  if (absl::Status found = FindSealedAndRecent(query); !found.ok()) return found;
  if (query.pending.empty()) return Fate::kOpened;
  return is_open ? Fate::kClosed : Fate::kNone;
}

absl::Status IdLog::PutOpen(const StagedWrites::Write& write, IdChanges::Fate fate) {
  if (fate == IdChanges::Fate::kNone || fate == IdChanges::Fate::kCompleted) {
    return absl::OkStatus();
  }
  const std::string key = EncodeIdKey(write.key);
  if (fate != IdChanges::Fate::kOpened) return storage_.PutOpen(key, std::nullopt);
  return storage_.PutOpen(key, EncodeOpenRow(write.key, write.record, write.extra));
}

absl::Status IdLog::WriteSegment(IdChanges& changes, std::int64_t log_time_ms) {
  assert(changes.fates_.empty());
  if (is_commit_pending_) {
    return absl::UnavailableError("id log: the outcome of the last commit is not known yet");
  }
  if (changes.writes_.empty()) return absl::OkStatus();
  if (unsealed_bytes_ > options_.unsealed_bytes_max || !recent_.has_room()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("id log: ", unsealed_bytes_, " bytes of segments wait to be sealed, at most ",
                     options_.unsealed_bytes_max, " may; see why sealing does not get on"));
  }
  is_commit_pending_ = true;
  changes.fates_.assign(changes.writes_.size(), IdChanges::Fate::kNone);
  SegmentWriter writer;
  for (std::size_t i = 0; i < changes.writes_.size(); ++i) {
    if (!changes.writes_.IsNewest(i)) continue;
    const StagedWrites::Write write = changes.writes_.at(i);
    const auto fate = FateOf(write);
    if (!fate.ok()) return fate.status();
    changes.fates_[i] = *fate;
    if (absl::Status put = PutOpen(write, *fate); !put.ok()) return put;
    if (*fate != IdChanges::Fate::kCompleted && *fate != IdChanges::Fate::kCompletedAndClosed) {
      continue;
    }
    writer.Add(write.key, write.record.fingerprint,
               static_cast<std::uint16_t>(write.record.attempt));
  }
  if (writer.size() == 0) return absl::OkStatus();
  const std::size_t ids = writer.size();
  const std::string segment = writer.Finish(next_segment(), log_time_ms);
  changes.segment_ =
      IdChanges::Segment{.bytes = segment.size(), .ids = ids, .log_time_ms = log_time_ms};
  return storage_.Append(next_segment(), segment);
}

void IdLog::Committed(IdChanges&& changes) {
  using Fate = IdChanges::Fate;
  constexpr std::size_t kTagsAhead = 16;
  constexpr std::size_t kPlaceAhead = 8;
  const IdChanges done = std::move(changes);
  if (done.fates_.empty()) return;
  const StagedWrites& writes = done.writes_;
  for (std::size_t i = 0; i < writes.size(); ++i) {
    if (i + kTagsAhead < writes.size()) recent_.PrefetchTags(writes.hash_at(i + kTagsAhead));
    if (i + kPlaceAhead < writes.size()) recent_.PrefetchPlace(writes.hash_at(i + kPlaceAhead));
    const StagedWrites::Write write = writes.at(i);
    const Fate fate = done.fates_[i];
    if (fate == Fate::kCompleted || fate == Fate::kCompletedAndClosed) {
      recent_.Put(write.key, write.hash, write.record, next_segment());
    }
    if (fate == Fate::kClosed || fate == Fate::kCompletedAndClosed) {
      open_.Erase(write.key, write.hash);
    }
    if (fate == Fate::kOpened) {
      open_.Put(write.key, write.hash, {.record = write.record, .extra = std::string(write.extra)});
    }
  }
  if (done.segment_) {
    AddUnsealed({.bytes = done.segment_->bytes,
                 .ids = done.segment_->ids,
                 .log_time_ms = done.segment_->log_time_ms});
  }
  is_commit_pending_ = false;
}

void IdLog::RolledBack(IdChanges&& changes) {
  const IdChanges undone = std::move(changes);
  if (!undone.fates_.empty()) is_commit_pending_ = false;
}

}  // namespace once::stores
