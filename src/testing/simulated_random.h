// Random for a simulated process: a pure function of its seed. Thread-safety: none.
#pragma once

#include <cstdint>

#include "once/executor.h"
#include "once/testing/oracle.h"

namespace once::testing {

class SimulatedRandom : public Random {
 public:
  explicit SimulatedRandom(std::uint64_t seed) : generator_(seed) {}
  std::uint64_t Next() override { return generator_.Next(); }

 private:
  SplitMix generator_;
};

}  // namespace once::testing
