// What the rounds of the consume benchmark say together: medians over rounds. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace once::benchmark {

struct Measurement {
  double messages_per_second = 0;
  double cpu_seconds_per_million = 0;
  double peak_mb = 0;
};

// By the contestant's name.
using Round = std::map<std::string, Measurement>;

// Of the contestants of every round.
struct Ratio {
  std::string name;
  std::string dividend;
  std::string divisor;
};

struct Summary {
  // Medians of the ratios within a round: what else the machine did meanwhile meets both sides.
  std::map<std::string, double> ratios;
  std::map<std::string, Measurement> contestants;
};

// REQUIRES: rounds is not empty; every round has all contestants.
Summary Summarize(const std::vector<Round>& rounds, const std::vector<Ratio>& ratios);

// The middle one; of an even number the mean of the two in the middle. REQUIRES: not empty.
double Median(std::vector<double> values);

}  // namespace once::benchmark
