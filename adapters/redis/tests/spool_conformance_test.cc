// The public suite of logs of outgoing messages over a shared spool: in a server, and in a cluster.
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "adapters/redis/tests/redis_cluster.h"
#include "adapters/redis/tests/redis_server.h"
#include "adapters/redis/tests/spool_words.h"
#include "once/redis/spool.h"
#include "once/testing/outgoing_conformance.h"

namespace once::redis {
namespace {

// A spool is no store.
class NoStore final : public DedupStore {
 public:
  StoreTraits traits() const override { return {}; }
};

class SpoolFixture final : public once::testing::StoreFixture {
 public:
  explicit SpoolFixture(std::string url) : url_(std::move(url)) { EXPECT_TRUE(Reopen().ok()); }

  DedupStore& store() override { return no_store_; }
  OutgoingLog* outgoing() override { return &log_->outgoing(); }
  absl::Status AppendOutgoing(std::span<const OutgoingMessage> messages) override {
    return testing::AppendTo(*log_, ++appends_, messages);
  }
  absl::Status Reopen() override {
    log_.reset();
    return Open();
  }
  // Nobody gives up the lanes of the dead: others wait for the end of its leases.
  absl::Status Crash() override {
    before_crash_.push_back(std::move(log_));
    *skew_seconds_ += 60;
    return Open();
  }

 private:
  absl::Status Open() {
    appends_ = 0;
    auto log = OpenSpoolLog(
        {.server = {.url = url_,
                    .clock_skew = [skew = skew_seconds_] { return absl::Seconds(skew->load()); }},
         .key_prefix = prefix_});
    if (!log.ok()) return log.status();
    log_ = *std::move(log);
    return absl::OkStatus();
  }

  const std::string url_;
  const std::string prefix_ = testing::NewPrefix();
  NoStore no_store_;
  const std::shared_ptr<std::atomic<std::int64_t>> skew_seconds_ =
      std::make_shared<std::atomic<std::int64_t>>(0);
  std::uint64_t appends_ = 0;
  std::vector<std::shared_ptr<SpoolLog>> before_crash_;
  std::shared_ptr<SpoolLog> log_;
};

once::testing::StoreUnderTest In(const char* name, std::function<std::string()> url) {
  return {.name = name,
          .capabilities = {.why_no_transactions = "a shared spool takes messages by themselves"},
          .make = [url = std::move(url)] { return std::make_unique<SpoolFixture>(url()); }};
}

INSTANTIATE_TEST_SUITE_P(
    RedisSpool, OutgoingLogConformance,
    ::testing::Values(In("redis", [] { return testing::SharedServer().url(); }),
                      In("redis_cluster", [] { return testing::SharedCluster().url(); })),
    once::testing::StoreName);

}  // namespace
}  // namespace once::redis
