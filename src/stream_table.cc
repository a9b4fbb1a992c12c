// Slots, names and the index over both.
#include "src/stream_table.h"

#include <algorithm>
#include <utility>

#include "once/abseil.h"

namespace once {
namespace {

constexpr std::size_t kEpochBytes = 8;
constexpr std::size_t kChunkBytes = 64 * 1024;

}  // namespace

std::string PackStream(const ProducerEpoch& by) {
  std::string packed;
  packed.reserve(kEpochBytes + by.producer.size());
  for (std::size_t i = kEpochBytes; i-- > 0;) {
    packed.push_back(static_cast<char>((by.epoch >> (8 * i)) & 0xFF));
  }
  return packed.append(by.producer);
}

std::optional<ProducerEpoch> UnpackStream(std::string_view packed) {
  if (packed.size() <= kEpochBytes || packed.size() > kPackedStreamBytesMax) return std::nullopt;
  ProducerEpoch by{.producer = packed.substr(kEpochBytes)};
  for (std::size_t i = 0; i < kEpochBytes; ++i) {
    by.epoch = by.epoch << 8 | static_cast<unsigned char>(packed[i]);
  }
  return by;
}

// Streams are only ever added; the whole is dropped at once.
class StreamTable::Generation {
 public:
  Generation() : index_(0, Hash{this}, Same{this}) {}
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  Slot* Find(std::string_view name) {
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &slots_[*found];
  }

  Slot& Add(std::string_view name) {
    if (chunks_.empty() || chunk_used_ + name.size() > kChunkBytes) {
      chunks_.push_back(std::make_unique<char[]>(kChunkBytes));
      chunk_used_ = 0;
    }
    const std::size_t at = (chunks_.size() - 1) * kChunkBytes + chunk_used_;
    std::copy(name.begin(), name.end(), chunks_.back().get() + chunk_used_);
    chunk_used_ += name.size();
    slots_.push_back({.name = static_cast<std::uint32_t>(at),
                      .name_bytes = static_cast<std::uint8_t>(name.size())});
    index_.insert(static_cast<std::uint32_t>(slots_.size() - 1));
    return slots_.back();
  }

  Rest& RestOf(Slot& slot) {
    if (slot.rest != 0) return rests_[slot.rest - 1];
    if (free_rests_.empty()) {
      rests_.emplace_back();
      slot.rest = static_cast<std::uint32_t>(rests_.size());
    } else {
      slot.rest = free_rests_.back();
      free_rests_.pop_back();
    }
    return rests_[slot.rest - 1];
  }
  void DropRest(Slot& slot) {
    if (slot.rest == 0) return;
    rests_[slot.rest - 1] = Rest{};
    free_rests_.push_back(std::exchange(slot.rest, 0));
  }

  std::size_t size() const { return slots_.size(); }

 private:
  std::string_view NameOf(std::uint32_t number) const {
    const Slot& slot = slots_[number];
    return {chunks_[slot.name / kChunkBytes].get() + slot.name % kChunkBytes, slot.name_bytes};
  }

  struct Hash {
    using is_transparent = void;
    const Generation* of;
    std::size_t operator()(std::string_view name) const { return absl::HashOf(ToAbsl(name)); }
    std::size_t operator()(std::uint32_t number) const { return (*this)(of->NameOf(number)); }
  };
  struct Same {
    using is_transparent = void;
    const Generation* of;
    bool operator()(std::uint32_t a, std::uint32_t b) const { return a == b; }
    bool operator()(std::uint32_t a, std::string_view b) const { return of->NameOf(a) == b; }
    bool operator()(std::string_view a, std::uint32_t b) const { return a == of->NameOf(b); }
  };

  std::deque<Slot> slots_;
  std::vector<std::unique_ptr<char[]>> chunks_;  // of names; none lies in two
  std::size_t chunk_used_ = 0;
  std::deque<Rest> rests_;
  std::vector<std::uint32_t> free_rests_;
  absl::flat_hash_set<std::uint32_t, Hash, Same> index_;  // numbers of slots, by name
};

StreamTable::StreamTable(std::size_t streams_max)
    : half_max_(std::max<std::size_t>(streams_max / 2, 1)),
      young_(std::make_unique<Generation>()),
      old_(std::make_unique<Generation>()) {}
StreamTable::~StreamTable() = default;

std::size_t StreamTable::size() const { return young_->size() + old_->size(); }

std::optional<StreamState> StreamTable::Find(std::string_view name) {
  const auto read = [](Generation& generation, Slot& slot) {
    StreamState state;
    state.high_ = slot.high;
    state.era_ = slot.era;
    if (slot.rest == 0) return state;
    const Rest& rest = generation.RestOf(slot);
    state.begin_ = rest.begin;
    state.given_up_ = rest.given_up;
    state.missing_ = rest.missing;
    return state;
  };
  if (Slot* slot = young_->Find(name)) return read(*young_, *slot);
  Slot* slot = old_->Find(name);
  if (slot == nullptr) return std::nullopt;
  StreamState state = read(*old_, *slot);
  PutYoung(name, state);
  return state;
}

void StreamTable::Put(std::string_view name, const StreamState& state) { PutYoung(name, state); }

void StreamTable::PutYoung(std::string_view name, const StreamState& state) {
  Slot* slot = young_->Find(name);
  if (slot == nullptr && young_->size() >= half_max_) {
    has_forgotten_ = has_forgotten_ || old_->size() > 0;
    old_ = std::exchange(young_, std::make_unique<Generation>());
  }
  if (slot == nullptr) slot = &young_->Add(name);
  slot->high = state.high_;
  slot->era = state.era_;
  if (state.is_steady()) {
    young_->DropRest(*slot);
    return;
  }
  Rest& rest = young_->RestOf(*slot);
  rest = {.begin = state.begin_, .given_up = state.given_up_, .missing = state.missing_};
}

}  // namespace once
