// The public suite of troubles over a Redis server, and over a cluster: no memory, connections cut
// at every place of a conversation, and servers killed outright.
#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "adapters/redis/tests/cut_proxy.h"
#include "adapters/redis/tests/redis_cluster.h"
#include "adapters/redis/tests/redis_server.h"
#include "once/redis/store.h"
#include "once/testing/trouble_conformance.h"

namespace once::redis {
namespace {

// What stands behind a store in trouble.
class Scene {
 public:
  virtual ~Scene() = default;

  virtual std::string url() const = 0;
  virtual std::vector<testing::RedisServer*> servers() = 0;
  // The next script to any of them.
  virtual void Cut(testing::Cut cut) = 0;
  virtual void EndCut() = 0;
  // They were started again.
  virtual void AwaitService() = 0;
};

class OneServer final : public Scene {
 public:
  std::string url() const override { return "unix:" + server_.File("p"); }
  std::vector<testing::RedisServer*> servers() override { return {&server_}; }
  void Cut(testing::Cut cut) override { proxy_.Arm(cut); }
  void EndCut() override { proxy_.Disarm(); }
  void AwaitService() override {}

 private:
  testing::RedisServer server_;
  testing::CutProxy proxy_{server_.File("p"), server_.socket_path()};
};

// Its masters are announced where proxies stand before them.
class ThreeMasters final : public Scene {
 public:
  ThreeMasters() {
    for (std::size_t i = 0; i < ports_.size(); ++i) {
      proxies_[i]->LeadTo(cluster_.node(static_cast<int>(i)).socket_path());
    }
  }
  std::string url() const override { return "redis://127.0.0.1:" + std::to_string(ports_.front()); }
  std::vector<testing::RedisServer*> servers() override {
    return {&cluster_.node(0), &cluster_.node(1), &cluster_.node(2)};
  }
  void Cut(testing::Cut cut) override { proxies_.front()->Arm(cut); }
  void EndCut() override { proxies_.front()->Disarm(); }
  void AwaitService() override {
    for (int node = 0; node < cluster_.size(); ++node) cluster_.AwaitState(node, "ok");
  }

 private:
  using Proxies = std::vector<std::unique_ptr<testing::CutProxy>>;

  // Before there are masters, so that nobody else takes the ports.
  static Proxies MakeProxies(const std::vector<int>& ports) {
    const auto arms = std::make_shared<testing::CutProxy::Arms>();
    Proxies proxies;
    for (const int port : ports) {
      proxies.push_back(
          std::make_unique<testing::CutProxy>(std::to_string(port), "/nowhere", arms));
    }
    return proxies;
  }

  const std::vector<int> ports_ = {testing::FindPort(), testing::FindPort(), testing::FindPort()};
  const Proxies proxies_ = MakeProxies(ports_);
  testing::RedisCluster cluster_{{.announced_ports = ports_}};
};

class TroubledFixture final : public once::testing::TroubleFixture {
 public:
  explicit TroubledFixture(std::unique_ptr<Scene> scene) : scene_(std::move(scene)) {
    EXPECT_TRUE(Open().ok());
  }

  DedupStore& store() override { return *store_; }
  absl::Status AdvanceClock(absl::Duration duration) override {
    *skew_seconds_ += absl::ToInt64Seconds(duration);
    return absl::OkStatus();
  }
  absl::Status Crash() override {
    before_.push_back(std::move(store_));
    return Open();
  }

  void FillUp() override { LimitMemory("1"); }
  bool BreakNextWrite(int way) override {
    if (way >= testing::kCuts) return false;
    scene_->Cut(static_cast<testing::Cut>(way));
    return true;
  }
  void EndTrouble() override {
    scene_->EndCut();
    LimitMemory("0");
  }
  // With appendfsync always a server has synced what it has answered, and answers nothing that it
  // has not: what its file holds after the kill, a machine without power would hold too.
  absl::Status LosePower() override {
    for (testing::RedisServer* const server : scene_->servers()) server->Kill();
    for (testing::RedisServer* const server : scene_->servers()) server->Start();
    scene_->AwaitService();
    return Crash();
  }

 private:
  void LimitMemory(const char* bytes) {
    for (testing::RedisServer* const server : scene_->servers()) {
      server->Ask({"CONFIG", "SET", "maxmemory", bytes});
    }
  }
  absl::Status Open() {
    auto store = OpenStore({.url = scene_->url(), .clock_skew = [skew = skew_seconds_] {
                              return absl::Seconds(skew->load());
                            }});
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    return absl::OkStatus();
  }

  const std::shared_ptr<std::atomic<std::int64_t>> skew_seconds_ =
      std::make_shared<std::atomic<std::int64_t>>(0);
  const std::unique_ptr<Scene> scene_;
  std::vector<std::shared_ptr<DedupStore>> before_;
  std::shared_ptr<DedupStore> store_;
};

template <typename S>
once::testing::StoreUnderTest In(const char* name) {
  return {
      .name = name,
      .capabilities = {.why_no_transactions = "Redis has no transaction for a handler's effect",
                       .why_words_need_no_space = "what ends a claim is taken down also by a full "
                                                  "server (allow-oom)"},
      .make = [] { return std::make_unique<TroubledFixture>(std::make_unique<S>()); }};
}

INSTANTIATE_TEST_SUITE_P(Redis, StoreTroubleConformance,
                         ::testing::Values(In<OneServer>("redis"),
                                           In<ThreeMasters>("redis_cluster")),
                         once::testing::TroubledStoreName);

}  // namespace
}  // namespace once::redis
