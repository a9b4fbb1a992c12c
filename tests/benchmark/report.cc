// Medians.
#include "tests/benchmark/report.h"

#include <algorithm>
#include <cstddef>

namespace once::benchmark {

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

Summary Summarize(const std::vector<Round>& rounds, const std::vector<Ratio>& ratios) {
  Summary summary;
  const auto median = [&](const auto& value_of) {
    std::vector<double> values;
    for (const Round& round : rounds) values.push_back(value_of(round));
    return Median(std::move(values));
  };
  for (const Ratio& ratio : ratios) {
    summary.ratios[ratio.name] = median([&](const Round& round) {
      return round.at(ratio.dividend).messages_per_second /
             round.at(ratio.divisor).messages_per_second;
    });
  }
  for (const auto& [name, first] : rounds.front()) {
    const auto of = [&, &name = name](double Measurement::*field) {
      return median([&](const Round& round) { return round.at(name).*field; });
    };
    summary.contestants[name] = {
        .messages_per_second = of(&Measurement::messages_per_second),
        .cpu_seconds_per_million = of(&Measurement::cpu_seconds_per_million),
        .peak_mb = of(&Measurement::peak_mb)};
  }
  return summary;
}

}  // namespace once::benchmark
