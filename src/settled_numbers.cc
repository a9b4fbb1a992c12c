// Notes: the partition's has its era, a position and the cluster it is of; a stream's are those of
// its StreamState.
#include "src/settled_numbers.h"

#include <limits>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/stores/bytes.h"
#include "src/test_hooks.h"

namespace once {
namespace {

constexpr std::string_view kFamily = "numb";
constexpr char kPartition = 'p';
constexpr char kHead = 's';    // StreamState::EncodeHead()
constexpr char kRanges = 'g';  // StreamState::EncodeLosses()
constexpr std::uint8_t kVersion = 1;
// Of a set nothing is ever given up: what must not grow asks before.
constexpr std::size_t kNoBound = std::numeric_limits<std::size_t>::max();
constexpr std::int64_t kNoTime = 0;

// Of all clusters: a mirror has the same numbers for the same messages. `stream`: packed.
std::string NoteOf(char kind, const PartitionKey& key, std::string_view stream = {}) {
  std::string note(kFamily);
  note.push_back(kind);
  stores::AppendText(note, key.group);
  stores::AppendText(note, key.partition.topic);
  stores::AppendInt(note, key.partition.partition);
  return note.append(stream);
}

std::string DamageOf(const PartitionKey& key) {
  return absl::StrCat(
      "a note on the settled numbers of ", ToString(key.partition),
      " in the store is damaged: without it copies cannot be told from new messages; put the store "
      "back from a backup");
}

}  // namespace

SettledNumbers::SettledNumbers(PartitionKey key, DedupBy dedup, std::size_t streams_max)
    : key_(std::move(key)),
      dedup_(dedup),
      notes_{
          .heads = NoteOf(kHead, key_), .losses = NoteOf(kRanges, key_), .damage = DamageOf(key_)},
      table_(streams_max) {}

void SettledNumbers::Begin() {
  reader_.Begin();
  met_.clear();
}

std::optional<SettledNumbers::Number> SettledNumbers::Read(const Message& message) {
  const std::optional<StampReader::Stamped> stamped = reader_.Read(message);
  if (stamped && stamped->stream == met_.size()) met_.emplace_back();
  if (!stamped || !stamped->is_from_outbox) return std::nullopt;
  Met& met = met_[stamped->stream];
  if (met.runs == 0 || stamped->number != met.last + 1) ++met.runs;
  met.last = stamped->number;
  return Number{static_cast<std::uint32_t>(stamped->stream), stamped->number};
}

absl::Status SettledNumbers::LoadPartition(StoreTransaction& transaction, std::int64_t position) {
  if (!is_loaded_) {
    const std::string key = NoteOf(kPartition, key_);
    const std::string_view view = key;
    std::string value;
    absl::Status status = transaction.FindNotes(std::span(&view, 1), std::span(&value, 1));
    if (!status.ok()) return status;
    if (!value.empty()) {
      stores::ByteReader read(value);
      read.Require(read.TakeInt<std::uint8_t>() == kVersion);
      Progress progress{.era = read.TakeInt<std::uint32_t>(),
                        .position = read.TakeInt<std::int64_t>()};
      progress.cluster = read.TakeText();
      read.Require(progress.era > 0);
      if (!read.is_done()) return absl::DataLossError(notes_.damage);
      stored_ = std::move(progress);
    }
    is_loaded_ = true;
  }
  next_ = stored_.value_or(Progress{.position = position, .cluster = key_.cluster});
  const bool is_ours = next_.position == position && next_.cluster == key_.cluster;
  if (!is_ours) ++next_.era;
  next_.cluster = key_.cluster;
  return absl::OkStatus();
}

absl::Status SettledNumbers::LoadStreams(StoreTransaction& transaction) {
  std::vector<std::size_t> wanted;
  std::vector<std::string_view> streams;
  for (std::size_t i = 0; i < met_.size(); ++i) {
    Met& met = met_[i];
    if (met.is_loaded || met.runs == 0) continue;
    met.before = table_.Find(reader_.names()[i]);
    met.is_loaded = met.before.has_value();
    if (met.is_loaded) continue;
    wanted.push_back(i);
    streams.push_back(reader_.names()[i]);
  }
  if (wanted.empty()) return absl::OkStatus();
  std::vector<std::optional<StreamState>> found(wanted.size());
  if (absl::Status status = FindStreams(transaction, notes_, streams, found); !status.ok()) {
    return status;
  }
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    met_[wanted[i]].before = std::move(found[i]);
    met_[wanted[i]].is_loaded = true;
  }
  return absl::OkStatus();
}

absl::Status SettledNumbers::Load(StoreTransaction& transaction, std::int64_t position) {
  absl::Status status = LoadPartition(transaction, position);
  if (status.ok() && has_numbers()) status = LoadStreams(transaction);
  if (!status.ok()) return status;
  if (ONCE_PLANTED_BUG("undone-settlement-kept")) return absl::OkStatus();
  for (Met& met : met_) met.state = met.before.value_or(StreamState());
  return absl::OkStatus();
}

// Whether the batch may come to want more room than there is. What is settled of a partition's
// batch are the first of its messages, however it ends, so each run of numbers adds one range at
// most, the one that the batch ends in too; the message behind, that is only met, adds the last.
bool SettledNumbers::IsTight(const Met& met) const {
  const std::size_t before = met.before ? met.before->missing().size() : 0;
  return before + met.runs >= kUnsettledRangesMax;
}

Standing SettledNumbers::Ask(const Number& number) const {
  const Met& met = met_[number.stream];
  if (met.state.Has(number.number)) return Standing::kSettled;
  const bool is_whole = dedup_ == DedupBy::kSequence && met.state.era() == next_.era;
  const bool is_new = is_whole && number.number > met.state.high() && !IsTight(met);
  return is_new ? Standing::kNew : Standing::kUnclear;
}

bool SettledNumbers::CanSettle(const Number& number) const {
  if (dedup_ != DedupBy::kSequence) return false;
  const StreamState& state = met_[number.stream].state;
  const auto ranges = static_cast<std::ptrdiff_t>(state.missing().size());
  return ranges + state.RangesAddedBy(number.number) <=
         static_cast<std::ptrdiff_t>(kUnsettledRangesMax);
}

bool SettledNumbers::Settle(const Number& number, bool was_absent) {
  if (!CanSettle(number)) {
    Meet(number);
    return false;
  }
  StreamState& state = met_[number.stream].state;
  if (number.number == 1 && state.high() == 0 && was_absent) state.EnterEra(next_.era);
  std::vector<StreamFinding> ignored;
  state.Receive(number.number, kNoTime, kNoBound, ignored);
  return true;
}

void SettledNumbers::Meet(const Number& number) {
  if (!has_numbers()) return;
  std::vector<StreamFinding> ignored;
  met_[number.stream].state.Expect(number.number, kNoTime, kNoBound, ignored);
}

bool IsNumberSettled(const PartitionKey& key, const SequenceStamp& stamp,
                     const std::function<std::string(const std::string&)>& find) {
  const std::string name = PackStream(stamp.by);
  const std::string head = find(NoteOf(kHead, key, name));
  const std::string ranges =
      StreamState::HasLosses(head) ? find(NoteOf(kRanges, key, name)) : std::string();
  const std::optional<StreamState> state = StreamState::Decode(head, ranges);
  return state && state->Has(stamp.sequence);
}

void SettledNumbers::Stage(std::int64_t position, std::vector<OwnedNote>& notes) {
  if (!has_numbers()) return;
  next_.position = position;
  if (stored_ != next_) {
    std::string value;
    stores::AppendInt(value, kVersion);
    stores::AppendInt(value, next_.era);
    stores::AppendInt(value, next_.position);
    stores::AppendText(value, next_.cluster);
    notes.push_back({.key = NoteOf(kPartition, key_), .value = std::move(value)});
  }
  for (std::size_t i = 0; i < met_.size(); ++i) {
    const Met& met = met_[i];
    StageStream(notes_, reader_.names()[i], met.before ? &*met.before : nullptr, met.state, notes);
  }
}

void SettledNumbers::Adopt() {
  if (has_numbers()) stored_ = next_;
  for (std::size_t i = 0; i < met_.size(); ++i) {
    const Met& met = met_[i];
    if (met.is_loaded) table_.Put(reader_.names()[i], met.state);
  }
  Begin();
}

}  // namespace once
