// The in-memory store as the conformance suites take it, with a clock that they set.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/memory/store.h"
#include "once/testing/store_fixture.h"

namespace once::memory {

class MemoryFixture : public once::testing::StoreFixture {
 public:
  MemoryFixture()
      : store_(OpenStore({.begin_timeout = absl::Milliseconds(20),
                          .now = [this] { return absl::FromUnixMicros(now_micros_); }})) {}

  DedupStore& store() override { return *store_; }
  absl::Status AppendEffect(Transaction& transaction, std::string_view row) override {
    Records(transaction)->Append("effects", row);
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<std::string>> ReadEffects() override {
    return store_->ReadRecords("effects");
  }
  absl::Status AdvanceClock(absl::Duration duration) override {
    now_micros_ += absl::ToInt64Microseconds(duration);
    return absl::OkStatus();
  }

 private:
  std::atomic<std::int64_t> now_micros_ = 1'700'000'000'000'000;
  const std::shared_ptr<Store> store_;
};

inline once::testing::StoreUnderTest MemoryUnderTest() {
  return {
      .name = "memory",
      .capabilities = {.why_no_reopen = "it forgets at exit", .why_no_crash = "it forgets at exit"},
      .make = [] { return std::make_unique<MemoryFixture>(); }};
}

}  // namespace once::memory
