// MetricsSink receives what the engine counts, once per batch rather than per message. Names and
// labels are a stable contract: docs/operating.md lists them. Adapters turn them into Prometheus or
// anything else; MetricsSink's own default drops everything.
// Thread-safety: safe for concurrent use.
#pragma once

#include <memory>
#include <span>
#include <string_view>

namespace once {

struct Label {
  std::string_view name;
  std::string_view value;
};

class MetricsSink {
 public:
  virtual ~MetricsSink() = default;
  // A counter grows by `delta` >= 0.
  virtual void Add(std::string_view name, std::span<const Label> labels, double delta) = 0;
  // A gauge becomes `value`.
  virtual void Set(std::string_view name, std::span<const Label> labels, double value) = 0;
};

// Drops everything.
std::shared_ptr<MetricsSink> NoMetrics();

}  // namespace once
