// A StreamState is what is known of one stream of numbered messages (once/sequence.h) in one
// partition: how far it has come, and which numbers below that are missing. Pure; a jump of any
// size costs the same. Bounded: beyond `ranges_max` the oldest missing range is given up.
//
// Missing numbers go through: waiting (they may only be late) → reported → found, voided, or given
// up. Excused ones are missing too and nobody is to hear of it: an operator has said so.
// Thread-safety: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "once/loss.h"

namespace once {

enum class MissingKind : std::uint8_t { kWaiting = 0, kReported = 1, kExcused = 2 };

struct MissingRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::int64_t seen_ms = 0;  // the log time at which it was first seen
  MissingKind kind = MissingKind::kWaiting;

  std::uint64_t size() const { return last - first + 1; }
  friend bool operator==(const MissingRange&, const MissingRange&) = default;
};

// What a change has made known.
struct StreamFinding {
  LossKind kind = LossKind::kSuspected;
  std::uint64_t first = 0;
  std::uint64_t last = 0;

  friend bool operator==(const StreamFinding&, const StreamFinding&) = default;
};

enum class Arrival : std::uint8_t {
  kNew,     // in order, or beyond numbers that are missing from now on
  kLate,    // it was missing
  kAgain,   // it was received before
  kBefore,  // from before what was the stream's beginning
};

// What is missing of a stream, for whoever only wants to know that.
struct StreamLosses {
  std::uint64_t given_up = 0;
  std::vector<MissingRange> missing;  // sorted

  friend bool operator==(const StreamLosses&, const StreamLosses&) = default;
};
// nullopt: not what StreamState::EncodeLosses() wrote.
std::optional<StreamLosses> DecodeLosses(std::string_view bytes);

class StreamState {
 public:
  // A stream of which nothing was received. What precedes `begin` cannot be told.
  // REQUIRES: begin > 0.
  explicit StreamState(std::uint64_t begin = 1) : begin_(begin), high_(begin - 1) {}

  std::uint64_t begin() const { return begin_; }
  // The greatest number that was received, or is known to have been given.
  std::uint64_t high() const { return high_; }
  // Sorted, and none touches the next unless their times or kinds differ.
  const std::vector<MissingRange>& missing() const { return missing_; }
  // How many numbers were given up: reported, and no longer looked for.
  std::uint64_t given_up() const { return given_up_; }
  bool is_steady() const { return begin_ == 1 && missing_.empty() && given_up_ == 0; }
  bool is_waiting() const;
  // It was received.
  bool Has(std::uint64_t number) const;
  // By how many its receipt changes the number of missing ranges.
  int RangesAddedBy(std::uint64_t number) const;
  // Which of its partition's eras the stream was met in last (SequenceTracker).
  std::uint32_t era() const { return era_; }
  void EnterEra(std::uint32_t era) { era_ = era; }

  // REQUIRES: number > 0.
  Arrival Receive(std::uint64_t number, std::int64_t seen_ms, std::size_t ranges_max,
                  std::vector<StreamFinding>& findings);

  // Every number up to `last` was given: what has not arrived is missing.
  void Expect(std::uint64_t last, std::int64_t seen_ms, std::size_t ranges_max,
              std::vector<StreamFinding>& findings);
  // Number 1 must have been seen: what precedes begin() is missing.
  void BeginAtOne(std::int64_t seen_ms, std::size_t ranges_max,
                  std::vector<StreamFinding>& findings);
  // Its producer has given these up: they may be missing.
  void Void(std::uint64_t first, std::uint64_t last, std::size_t ranges_max,
            std::vector<StreamFinding>& findings);
  // The partition went on elsewhere by order: what is missing between high() and `next` is excused.
  void SkipTo(std::uint64_t next, std::int64_t seen_ms, std::size_t ranges_max);
  // What of these is missing is excused: an operator has dealt with it. How many were reported.
  std::uint64_t Excuse(std::uint64_t first, std::uint64_t last, std::size_t ranges_max);
  // What is reported or given up is excused: an operator has dealt with all of it.
  void Forgive(std::size_t ranges_max);
  // Reports what has been waiting since `seen_until_ms` or before.
  void ReportSeenUntil(std::int64_t seen_until_ms, std::vector<StreamFinding>& findings);

  // Numbers that are missing and reported, given up ones included.
  std::uint64_t CountMissing() const;

  // Two parts, so that what changes with every message is small. Losses: empty without any.
  std::string EncodeHead() const;
  std::string EncodeLosses() const;
  static bool HasLosses(std::string_view head);
  // nullopt: not what the two wrote.
  static std::optional<StreamState> Decode(std::string_view head, std::string_view losses);

  friend bool operator==(const StreamState&, const StreamState&) = default;

 private:
  friend class StreamTable;

  using Ranges = std::vector<MissingRange>;

  const MissingRange* FindMissing(std::uint64_t number) const;
  void Miss(MissingRange range, std::size_t ranges_max, std::vector<StreamFinding>& findings);
  // Takes [first, last] out of what is missing; `take` sees each part that was.
  template <typename F>
  void Fill(std::uint64_t first, std::uint64_t last, F&& take);
  void GiveUpOldest(std::vector<StreamFinding>& findings);

  std::uint64_t begin_;
  std::uint64_t high_;
  std::uint64_t given_up_ = 0;
  std::uint32_t era_ = 0;
  Ranges missing_;
};

}  // namespace once
