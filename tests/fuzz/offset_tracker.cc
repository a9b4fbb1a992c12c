// The OffsetTracker against an oracle that remembers everything: the same answers and the same
// watermark, whatever is delivered, settled and taken back in whatever order.
#include "once/offset_tracker.h"

#include <algorithm>
#include <set>

#include "tests/fuzz/fuzz_target.h"

namespace once::testing {
namespace {

// No broker numbers messages beyond; the tracker adds 1 to what it is given.
constexpr std::int64_t kOffsetMax = std::int64_t{1} << 62;

class NaiveTracker {
 public:
  explicit NaiveTracker(std::int64_t position) : next_(position) {}

  bool Deliver(std::int64_t offset) {
    if (offset < next_) return false;
    unsettled_.insert(offset);
    next_ = offset + 1;
    return true;
  }
  bool Settle(std::int64_t offset) {
    if (unsettled_.erase(offset) == 0) return false;
    settled_.insert(offset);
    return true;
  }
  bool MayTruncate(std::int64_t offset) const {
    return settled_.lower_bound(offset) == settled_.end();
  }
  void Truncate(std::int64_t offset) {
    unsettled_.erase(unsettled_.lower_bound(offset), unsettled_.end());
    next_ = std::min(next_, offset);
  }

  std::int64_t watermark() const { return unsettled_.empty() ? next_ : *unsettled_.begin(); }
  std::int64_t next() const { return next_; }
  std::size_t unsettled() const { return unsettled_.size(); }

 private:
  std::set<std::int64_t> unsettled_;
  std::set<std::int64_t> settled_;
  std::int64_t next_;
};

// Near what was delivered mostly, anywhere sometimes.
std::int64_t TakeOffset(FuzzInput& input, std::int64_t next) {
  const auto near = input.Take<std::int8_t>();
  const std::int64_t offset = near == INT8_MIN ? input.Take<std::int64_t>() : next + near;
  return std::clamp<std::int64_t>(offset, 0, kOffsetMax);
}

void Check(FuzzInput& input) {
  const std::int64_t position = input.Take<std::uint16_t>();
  OffsetTracker tracker(position);
  NaiveTracker naive(position);
  while (!input.is_empty()) {
    const auto verb = input.Take<std::uint8_t>() % 8;
    const std::int64_t offset = TakeOffset(input, naive.next());
    const std::int64_t before = tracker.watermark();
    if (verb < 4) {
      Require(tracker.Deliver(offset) == naive.Deliver(offset), "Deliver answers alike");
    } else if (verb < 7) {
      Require(tracker.Settle(offset) == naive.Settle(offset), "Settle answers alike");
    } else if (naive.MayTruncate(offset)) {
      tracker.Truncate(offset);
      naive.Truncate(offset);
    }
    Require(tracker.watermark() == naive.watermark(), "the watermarks are equal");
    Require(tracker.next() == naive.next(), "what comes next is equal");
    Require(tracker.unsettled() == naive.unsettled(), "as much is unsettled");
    Require(verb == 7 || tracker.watermark() >= before, "the watermark never goes back");
  }
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  SeedWriter in_order;
  SeedWriter backwards;
  SeedWriter taken_back;
  in_order.Put<std::uint16_t>(0);
  backwards.Put<std::uint16_t>(10);
  taken_back.Put<std::uint16_t>(10);
  for (int i = 0; i < 8; ++i) {
    in_order.Put<std::uint8_t>(0).Put<std::int8_t>(0).Put<std::uint8_t>(4).Put<std::int8_t>(-1);
    backwards.Put<std::uint8_t>(1).Put(static_cast<std::int8_t>(i % 3));
    taken_back.Put<std::uint8_t>(0).Put<std::int8_t>(2);
  }
  for (int i = 1; i <= 20; ++i) {
    backwards.Put<std::uint8_t>(5).Put(static_cast<std::int8_t>(-i));
  }
  taken_back.Put<std::uint8_t>(7).Put<std::int8_t>(-12).Put<std::uint8_t>(0).Put<std::int8_t>(1);
  return {in_order.seed(), backwards.seed(), taken_back.seed()};
}

}  // namespace once::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  once::testing::FuzzInput input(data, size);
  once::testing::Check(input);
  return 0;
}
