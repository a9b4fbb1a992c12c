// NumberHoles are the numbers of a lane that were passed without a row: those of transactions that
// are still open, or that have rolled back. A row is never skipped because it was committed late:
// its number is a hole, and is looked at again until nobody can commit it any more.
// Thread-safety: as a value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace once::postgres {

class NumberHoles {
 public:
  struct Hole {
    std::int64_t last = 0;
    // Once no transaction before this one (xid8) is open any more, the hole stays empty: whoever
    // has drawn one of its numbers had a number of the server before.
    std::int64_t until = kUndated;

    friend bool operator==(const Hole&, const Hole&) = default;
  };
  static constexpr std::int64_t kUndated = std::numeric_limits<std::int64_t>::max();

  // Numbers from `first` to `last`. REQUIRES: none of them is in a hole.
  void Add(std::int64_t first, std::int64_t last);
  // What has no date gets this one: that of a transaction which began after the holes were seen.
  void Date(std::int64_t transaction);
  bool Contains(std::int64_t number) const;
  // It was a row's.
  void Remove(std::int64_t number);
  // Those that nobody can fill any more. REQUIRES: they have no rows, in a snapshot in which
  // `oldest_open` was the oldest transaction that was open.
  void CloseBefore(std::int64_t oldest_open);

  const std::map<std::int64_t, Hole>& holes() const { return holes_; }  // by their first numbers
  bool is_empty() const { return holes_.empty(); }
  std::size_t size() const { return holes_.size(); }

  // Without dates: another server may count its transactions anew.
  std::string Encode() const;
  // Without dates. kDataLoss for bytes that Encode() never produces.
  static absl::StatusOr<NumberHoles> Decode(std::string_view bytes);

  friend bool operator==(const NumberHoles&, const NumberHoles&) = default;

 private:
  // end(): it is in none.
  std::map<std::int64_t, Hole>::const_iterator Find(std::int64_t number) const;

  std::map<std::int64_t, Hole> holes_;
};

}  // namespace once::postgres
