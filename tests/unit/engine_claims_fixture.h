// EngineClaimsTest: a consumer with a plain handler over a scripted broker, an in-memory store
// whose claims fail as the test says, and a clock that stands still. The handler's effect is an
// entry of a list outside of the store.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "once/memory/store.h"
#include "tests/unit/engine_fixture.h"
#include "tests/unit/faulty_claims.h"

namespace once {

class EngineClaimsTest : public ::testing::Test {
 protected:
  using IdHandler = std::function<Outcome(const Message&)>;

  EngineClaimsTest() {
    options_.id = HeaderId("id");
    options_.retry = {.max_attempts = 3,
                      .backoff = {.initial = absl::Seconds(1), .multiplier = 2, .jitter = 0}};
    options_.dead_letters = {.publisher = publisher_};
  }

  void Send(const TopicPartition& partition, std::string id, std::string value = "v") {
    log_->Append(partition, {.value = std::move(value), .headers = {{"id", std::move(id)}}});
  }
  void When(std::string id, IdHandler handler) { handlers_[std::move(id)] = std::move(handler); }

  // A second consumer of the same kind, as another process would be.
  void StartConsumer() {
    ConsumerOptions options = CopyWithoutSource(options_);
    options.source = std::make_unique<ScriptedSource>(log_);
    options.store = store_;
    options.log = events_;
    options.executor = executor();
    options.random = random_;
    auto consumer = Consumer::Create(
        std::move(options), [this](const Message& message) -> Outcome { return Handle(message); });
    ASSERT_TRUE(consumer.ok()) << consumer.status();
    consumer_ = *std::move(consumer);
  }

  virtual std::shared_ptr<Executor> executor() { return clock_; }

  void Settle(int steps = 12) {
    for (int i = 0; i < steps; ++i) {
      const absl::StatusOr<bool> stepped = consumer_->Step();
      ASSERT_TRUE(stepped.ok()) << stepped.status();
    }
  }
  void StartAndSettle(std::vector<TopicPartition> partitions) {
    log_->Assign(std::move(partitions));
    StartConsumer();
    Settle();
  }
  void SettleAfter(absl::Duration duration) {
    clock_->Advance(duration);
    Settle();
  }
  // What the broker knows after a graceful stop.
  std::int64_t StopAndReadOffset(const TopicPartition& partition) {
    EXPECT_TRUE(consumer_->Stop().ok());
    return log_->committed(partition).value_or(-1);
  }

  FaultyClaims& claims() { return store_->faulty(); }
  IdRecord RecordOf(const std::string& id) {
    const auto found = memory_->operations()->FindId(id);
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() && !found->empty() ? found->front().record : IdRecord{};
  }
  ConsumerStats stats() const { return consumer_->stats(); }

  // Another owner claims the id, and begins if it says so.
  Fence ClaimElsewhere(const std::string& id, bool is_begun,
                       absl::Duration lease = absl::Seconds(30)) {
    ClaimStore& store = *memory_->claims();
    const std::string scope = GroupTopicScope("billing", "orders");
    const ClaimRequest request{.key = {.scope = scope, .id = id},
                               .fingerprint = Fingerprint::Of("v"),
                               .fence = store.NewFence()};
    ClaimResult result;
    EXPECT_TRUE(store.TryClaim(std::span(&request, 1), lease, std::span(&result, 1)).ok());
    EXPECT_TRUE(result.verdict == ClaimVerdict::kFresh || result.verdict == ClaimVerdict::kTakeover)
        << static_cast<int>(result.verdict);
    const Claim claim{.key = request.key, .fence = request.fence};
    absl::Status outcome;
    if (is_begun) {
      EXPECT_TRUE(store.Begun(std::span(&claim, 1), std::span(&outcome, 1)).ok() && outcome.ok());
    }
    return request.fence;
  }
  void CompleteElsewhere(const std::string& id, const Fence& fence) {
    const std::string scope = GroupTopicScope("billing", "orders");
    const CompletedClaim completed{.claim = {.key = {.scope = scope, .id = id}, .fence = fence}};
    absl::Status outcome;
    EXPECT_TRUE(memory_->claims()->Complete(std::span(&completed, 1), std::span(&outcome, 1)).ok());
    EXPECT_TRUE(outcome.ok()) << outcome;
  }

  Outcome Handle(const Message& message) {
    const std::string id(message.id());
    invoked_.push_back(id + "#" + std::to_string(message.attempt()) +
                       (message.maybe_repeated() ? "?" : ""));
    claims().Note("handle " + id);
    const auto handler = handlers_.find(id);
    if (handler != handlers_.end()) return handler->second(message);
    return Done();
  }

  std::shared_ptr<ManualExecutor> clock_ = std::make_shared<ManualExecutor>();
  std::shared_ptr<MiddleRandom> random_ = std::make_shared<MiddleRandom>();
  std::shared_ptr<ScriptedLog> log_ = std::make_shared<ScriptedLog>();
  std::shared_ptr<memory::Store> memory_ =
      memory::OpenStore({.now = [clock = clock_] { return clock->Now(); }});
  std::shared_ptr<ClaimsOnlyStore> store_ = std::make_shared<ClaimsOnlyStore>(memory_);
  std::shared_ptr<KeepingPublisher> publisher_ = std::make_shared<KeepingPublisher>();
  std::shared_ptr<KeepingLog> events_ = std::make_shared<KeepingLog>();
  ConsumerOptions options_;  // source, store, log, executor and random are filled in by the fixture

  std::vector<std::string> invoked_;  // "a#1", "a#2?": id, attempt, maybe repeated
  std::map<std::string, IdHandler> handlers_;
  std::unique_ptr<Consumer> consumer_;  // last: it uses all of the above
};

}  // namespace once
