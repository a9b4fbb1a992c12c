// The public suite of troubles over a Redis server: no memory, connections cut at every place of a
// conversation, and a server killed outright.
#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "adapters/redis/tests/cut_proxy.h"
#include "adapters/redis/tests/redis_server.h"
#include "once/redis/store.h"
#include "once/testing/trouble_conformance.h"

namespace once::redis {
namespace {

class TroubledFixture final : public once::testing::TroubleFixture {
 public:
  TroubledFixture() { EXPECT_TRUE(Open().ok()); }

  DedupStore& store() override { return *store_; }
  absl::Status AdvanceClock(absl::Duration duration) override {
    *skew_seconds_ += absl::ToInt64Seconds(duration);
    return absl::OkStatus();
  }
  absl::Status Crash() override {
    before_.push_back(std::move(store_));
    return Open();
  }

  void FillUp() override { server_.Ask({"CONFIG", "SET", "maxmemory", "1"}); }
  bool BreakNextWrite(int way) override {
    if (way >= testing::kCuts) return false;
    proxy_.Arm(static_cast<testing::Cut>(way));
    return true;
  }
  void EndTrouble() override {
    proxy_.Disarm();
    server_.Ask({"CONFIG", "SET", "maxmemory", "0"});
  }
  // With appendfsync always a server has synced what it has answered, and answers nothing that it
  // has not: what its file holds after the kill, a machine without power would hold too.
  absl::Status LosePower() override {
    server_.Kill();
    server_.Start();
    return Crash();
  }

 private:
  absl::Status Open() {
    auto store =
        OpenStore({.url = "unix:" + server_.File("p"),
                   .clock_skew = [skew = skew_seconds_] { return absl::Seconds(skew->load()); }});
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    return absl::OkStatus();
  }

  const std::shared_ptr<std::atomic<std::int64_t>> skew_seconds_ =
      std::make_shared<std::atomic<std::int64_t>>(0);
  testing::RedisServer server_;
  testing::CutProxy proxy_{server_.File("p"), server_.socket_path()};
  std::vector<std::shared_ptr<DedupStore>> before_;
  std::shared_ptr<DedupStore> store_;
};

INSTANTIATE_TEST_SUITE_P(
    Redis, StoreTroubleConformance,
    ::testing::Values(once::testing::StoreUnderTest{
        .name = "redis",
        .capabilities = {.why_no_transactions = "Redis has no transaction for a handler's effect",
                         .why_words_need_no_space =
                             "what ends a claim is taken down also by a full "
                             "server (allow-oom)"},
        .make = [] { return std::make_unique<TroubledFixture>(); }}),
    once::testing::TroubledStoreName);

}  // namespace
}  // namespace once::redis
