// A TellingClient is a RecordClient whose broker is a function: it is told every record that is
// sent, and keeps nothing. For processes that are killed, whose broker must outlive them.
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "once/record_client.h"

namespace once::testing {

class TellingClient final : public RecordClient {
 public:
  // Marks, which carry no stamp, are not told.
  using Tell = std::function<void(const OutgoingRecord&)>;
  static constexpr std::size_t kInsideMax = 7;

  explicit TellingClient(Tell tell) : tell_(std::move(tell)) {}

  absl::StatusOr<std::int32_t> CountPartitions(const std::string&, absl::Time) override {
    return 3;
  }
  absl::Status TrySend(const OutgoingRecord& record) override {
    if (reports_.size() == kInsideMax) return absl::ResourceExhaustedError("full");
    if (!record.stamp.empty()) tell_(record);
    reports_.push_back({.cookie = record.cookie, .status = {}, .offset = next_offset_++});
    return absl::OkStatus();
  }
  void Poll(absl::Time, const Listener& listener) override {
    const std::vector<RecordReport> told = std::exchange(reports_, {});
    if (!told.empty()) listener(told);
  }
  void Wake() override {}
  void Purge() override {}
  std::size_t CountInside() const override { return reports_.size(); }
  absl::Status status() const override { return {}; }

 private:
  const Tell tell_;
  std::vector<RecordReport> reports_;
  std::int64_t next_offset_ = 0;
};

}  // namespace once::testing
