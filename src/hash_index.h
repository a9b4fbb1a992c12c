// A HashIndex finds numbers by hash: the index beside a sequence of entries that holds the keys.
// Who calls it compares the keys themselves, so a hash that two keys share costs time and nothing
// else. It keeps half of each hash, and so grows without looking at a single key.
// Thread-safety: none of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace once {

class HashIndex {
 public:
  // What Find() gives when there is none; never inserted.
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;

  // The first number under `hash` for which `is_wanted(number)`; else kNone.
  template <typename F>
  std::uint32_t Find(std::uint64_t hash, F&& is_wanted) const {
    if (size_ == 0) return kNone;
    const std::uint32_t half = HalfOf(hash);
    for (std::size_t at = Home(half);; at = Next(at)) {
      const Slot& slot = slots_[at];
      if (slot.number == kNone) return kNone;
      if (slot.hash == half && is_wanted(slot.number)) return slot.number;
    }
  }

  // The same number may be inserted under one hash only.
  void Insert(std::uint64_t hash, std::uint32_t number) {
    if ((size_ + 1) * kLoadDenominator > slots_.size() * kLoadNumerator) Grow();
    Place({.hash = HalfOf(hash), .number = number});
    ++size_;
  }

  // REQUIRES: `number` was inserted under `hash`.
  void Erase(std::uint64_t hash, std::uint32_t number) {
    std::size_t gap = Home(HalfOf(hash));
    while (slots_[gap].number != number) gap = Next(gap);
    // What follows moves up where that brings it no further from home than it is now: no search
    // may meet a gap before the slot that it wants.
    for (std::size_t at = Next(gap); slots_[at].number != kNone; at = Next(at)) {
      const std::size_t distance = (at - Home(slots_[at].hash)) & (slots_.size() - 1);
      const std::size_t way = (at - gap) & (slots_.size() - 1);
      if (distance < way) continue;
      slots_[gap] = slots_[at];
      gap = at;
    }
    slots_[gap] = Slot{};
    --size_;
  }

  // Keeps its room when it is needed again: at least `expected` numbers will be inserted.
  void Reset(std::size_t expected) {
    std::size_t slots = kSlotsMin;
    while (expected * kLoadDenominator > slots * kLoadNumerator) slots *= 2;
    slots_.assign(slots, Slot{});
    size_ = 0;
  }

  // Brings the slot of `hash` nearer, for a Find() or Insert() that follows soon.
  void Prefetch(std::uint64_t hash) const {
    if (!slots_.empty()) __builtin_prefetch(&slots_[Home(HalfOf(hash))]);
  }

  std::size_t size() const { return size_; }

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t number = kNone;
  };
  static constexpr std::size_t kSlotsMin = 16;
  // At most 5/8 of the slots are in use.
  static constexpr std::size_t kLoadNumerator = 5;
  static constexpr std::size_t kLoadDenominator = 8;

  static std::uint32_t HalfOf(std::uint64_t hash) { return static_cast<std::uint32_t>(hash); }
  // The number of slots is a power of two.
  std::size_t Home(std::uint32_t hash) const { return hash & (slots_.size() - 1); }
  std::size_t Next(std::size_t at) const { return (at + 1) & (slots_.size() - 1); }

  void Place(const Slot& slot) {
    std::size_t at = Home(slot.hash);
    while (slots_[at].number != kNone) at = Next(at);
    slots_[at] = slot;
  }

  void Grow() {
    std::vector<Slot> former(slots_.empty() ? kSlotsMin : 2 * slots_.size());
    former.swap(slots_);
    for (const Slot& slot : former) {
      if (slot.number != kNone) Place(slot);
    }
  }

  std::vector<Slot> slots_;
  std::size_t size_ = 0;
};

}  // namespace once
