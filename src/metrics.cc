// The sink that drops everything.
#include "once/metrics.h"

namespace once {
namespace {

class DroppingMetrics : public MetricsSink {
 public:
  void Add(std::string_view, std::span<const Label>, double) override {}
  void Set(std::string_view, std::span<const Label>, double) override {}
};

}  // namespace

std::shared_ptr<MetricsSink> NoMetrics() { return std::make_shared<DroppingMetrics>(); }

}  // namespace once
