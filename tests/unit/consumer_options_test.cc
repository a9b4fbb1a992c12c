// Consumer::Create: every wrong option is refused with an error that names it and the way out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "once/consumer.h"
#include "once/memory/store.h"
#include "tests/forwarding_seams.h"
#include "tests/unit/scripted_source.h"

namespace once {
namespace {

using ::testing::HasSubstr;

class ClaimsOnlyStore : public DedupStore {
 public:
  StoreTraits traits() const override { return traits_; }

 private:
  const StoreTraits traits_ = {.name = "redis"};
};

class ForgetfulStore : public testing::ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;
  StoreTraits traits() const override {
    StoreTraits traits = ForwardingStore::traits();
    traits.retention = absl::Hours(24);
    return traits;
  }
};

class NullPublisher : public Publisher {
 public:
  void Publish(std::span<const OutgoingMessage>, absl::Time, std::span<absl::Status>) override {}
};

ConsumerOptions GoodOptions() {
  ConsumerOptions options;
  options.source = std::make_unique<ScriptedSource>(std::make_shared<ScriptedLog>());
  options.store = memory::OpenStore();
  options.log = NoLog();
  return options;
}

absl::Status Handle(const Message&, Transaction&) { return absl::OkStatus(); }

absl::Status StatusOf(ConsumerOptions options) {
  return Consumer::Create(std::move(options), Handle).status();
}

struct BadOption {
  std::string named;  // must be in the error
  std::function<void(ConsumerOptions&)> spoil;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
};

void ExpectRefused(const std::vector<BadOption>& cases) {
  for (const BadOption& bad : cases) {
    ConsumerOptions options = GoodOptions();
    bad.spoil(options);
    const absl::Status status = StatusOf(std::move(options));
    EXPECT_EQ(status.code(), bad.code) << bad.named;
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.named));
  }
}

TEST(ConsumerOptions, TheDefaultsAreAccepted) { EXPECT_TRUE(StatusOf(GoodOptions()).ok()); }

TEST(ConsumerOptions, ANullPartIsNamed) {
  ExpectRefused({{"ConsumerOptions::source", [](auto& o) { o.source = nullptr; }},
                 {"ConsumerOptions::store", [](auto& o) { o.store = nullptr; }},
                 {"ConsumerOptions::log", [](auto& o) { o.log = nullptr; }},
                 {"ConsumerOptions::metrics", [](auto& o) { o.metrics = nullptr; }},
                 {"ConsumerOptions::executor", [](auto& o) { o.executor = nullptr; }},
                 {"ConsumerOptions::random", [](auto& o) { o.random = nullptr; }}});
}

TEST(ConsumerOptions, AnIdOrScopeThatCannotWorkIsNamed) {
  ExpectRefused({{"ConsumerOptions::id: JsonPointerId", [](auto& o) { o.id = JsonPointerId("x"); }},
                 {"ConsumerOptions::id: HeaderId", [](auto& o) { o.id = HeaderId(""); }},
                 {"ConsumerOptions::scope", [](auto& o) { o.scope = ""; }}});
}

TEST(ConsumerOptions, AStoreBelowTheFloorIsRefusedAndTheReasonIsItsOwn) {
  ExpectRefused(
      {{"store memory survives nothing",
        [](auto& o) { o.store_floor.durability = Durability::kProcess; },
        absl::StatusCode::kFailedPrecondition},
       {"use a store on disk", [](auto& o) { o.store_floor.durability = Durability::kMachine; },
        absl::StatusCode::kFailedPrecondition},
       {"forgets ids after 24h",
        [](auto& o) {
          o.store = std::make_shared<ForgetfulStore>(memory::OpenStore());
          o.store_floor.retention = absl::Hours(25);
        },
        absl::StatusCode::kFailedPrecondition}});
  ConsumerOptions options = GoodOptions();
  options.store_floor.retention = absl::Hours(24 * 365);
  EXPECT_TRUE(StatusOf(std::move(options)).ok()) << "a store that keeps ids for ever";
}

TEST(ConsumerOptions, ABadRetryPolicyIsNamed) {
  ExpectRefused(
      {{"retry.max_attempts", [](auto& o) { o.retry.max_attempts = 0; }},
       {"retry.backoff.multiplier", [](auto& o) { o.retry.backoff.multiplier = 0.5; }},
       {"retry.backoff.jitter", [](auto& o) { o.retry.backoff.jitter = 2; }},
       {"retry.backoff.initial", [](auto& o) { o.retry.backoff.initial = -absl::Seconds(1); }},
       {"retry.backoff.max", [](auto& o) { o.retry.backoff.max = absl::Milliseconds(1); }},
       {"retry.max_elapsed", [](auto& o) { o.retry.max_elapsed = -absl::Seconds(1); }},
       {"retry.classify", [](auto& o) { o.retry.classify = nullptr; }}});
}

TEST(ConsumerOptions, ABadLimitIsNamed) {
  ExpectRefused(
      {{"limits.batch_messages_max", [](auto& o) { o.limits.batch_messages_max = 0; }},
       {"limits.batch_max_duration",
        [](auto& o) { o.limits.batch_max_duration = absl::ZeroDuration(); }},
       {"limits.inflight_messages_max", [](auto& o) { o.limits.inflight_messages_max = 0; }},
       {"limits.inflight_bytes_max", [](auto& o) { o.limits.inflight_bytes_max = 0; }},
       {"limits.outbox_rows_max", [](auto& o) { o.limits.outbox_rows_max = 0; }}});
}

TEST(ConsumerOptions, ABadTimeIsNamed) {
  const absl::Duration negative = -absl::Seconds(1);
  ExpectRefused(
      {{"times.poll_timeout", [](auto& o) { o.times.poll_timeout = absl::ZeroDuration(); }},
       {"times.pause_after", [](auto& o) { o.times.pause_after = absl::Minutes(5); }},
       {"times.pause_after", [=](auto& o) { o.times.pause_after = negative; }},
       {"times.revoke_budget", [](auto& o) { o.times.revoke_budget = absl::Minutes(5); }},
       {"times.revoke_budget", [=](auto& o) { o.times.revoke_budget = negative; }},
       {"times.stop_deadline", [=](auto& o) { o.times.stop_deadline = negative; }},
       {"times.commit_interval", [=](auto& o) { o.times.commit_interval = negative; }},
       {"times.idle_audit", [=](auto& o) { o.times.idle_audit = negative; }},
       {"times.publish_timeout", [](auto& o) { o.times.publish_timeout = absl::ZeroDuration(); }},
       {"times.store_backoff.initial",
        [](auto& o) { o.times.store_backoff.initial = absl::ZeroDuration(); }},
       {"times.store_backoff", [](auto& o) { o.times.store_backoff.multiplier = 0; }},
       {"times.store_backoff", [](auto& o) { o.times.store_backoff.max = absl::ZeroDuration(); }}});
}

TEST(ConsumerOptions, ALeaseOfClaimsIsBetweenASecondAndADay) {
  const auto status_with = [](absl::Duration lease) {
    ConsumerOptions options = GoodOptions();
    options.claims.lease = lease;
    return Consumer::Create(std::move(options), [](const Message&) { return absl::OkStatus(); })
        .status();
  };
  for (const absl::Duration lease :
       {absl::Milliseconds(999), absl::Hours(24) + absl::Nanoseconds(1), absl::InfiniteDuration(),
        -absl::InfiniteDuration()}) {
    const absl::Status status = status_with(lease);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << lease << ": " << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("ConsumerOptions::claims.lease: must be between a second and a day"))
        << lease;
  }
  EXPECT_TRUE(status_with(absl::Seconds(1)).ok());
  EXPECT_TRUE(status_with(absl::Hours(24)).ok());
}

TEST(ConsumerOptions, TheSourcesPollIntervalBoundsTheWaits) {
  ConsumerOptions options = GoodOptions();
  SourceTraits traits = ScriptedSource::DefaultTraits();
  traits.poll_interval_max = absl::Seconds(10);  // the default revoke budget
  options.source = std::make_unique<ScriptedSource>(std::make_shared<ScriptedLog>(), traits);
  EXPECT_THAT(std::string(StatusOf(std::move(options)).message()), HasSubstr("revoke_budget"));
}

TEST(ConsumerOptions, APublisherNeedsATopic) {
  ExpectRefused({{"dead_letters.topic", [](auto& o) {
                    o.dead_letters = {.publisher = std::make_shared<NullPublisher>(),
                                      .topic = nullptr};
                  }}});
}

TEST(ConsumerOptions, AStoreWithoutTransactionsDoesNotFitATransactionalHandler) {
  ExpectRefused({{"redis", [](auto& o) { o.store = std::make_shared<ClaimsOnlyStore>(); },
                  absl::StatusCode::kFailedPrecondition}});
}

TEST(ConsumerOptions, AnEmptyHandlerIsRefused) {
  const auto consumer = Consumer::Create(GoodOptions(), TransactionalHandlerFunction());
  EXPECT_EQ(consumer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(consumer.status().message()), HasSubstr("handler"));
}

TEST(ConsumerOptions, AHandlerMayReturnAStatusOrAnOutcome) {
  EXPECT_TRUE(Consumer::Create(GoodOptions(), [](const Message&, Transaction&) {
                return absl::OkStatus();
              }).ok());
  EXPECT_TRUE(
      Consumer::Create(GoodOptions(), [](const Message&, Transaction&) { return Skip("x"); }).ok());
}

TEST(ConsumerOptions, AHandlerMayKeepStateOfItsOwn) {
  EXPECT_TRUE(Consumer::Create(GoodOptions(), [calls = 0](const Message&, Transaction&) mutable {
                return ++calls > 0 ? absl::OkStatus() : absl::UnknownError("x");
              }).ok());
}

TEST(ConsumerOptions, TheGuaranteeIsThereBeforeTheFirstMessage) {
  const auto consumer = Consumer::Create(GoodOptions(), Handle);
  ASSERT_TRUE(consumer.ok());
  EXPECT_EQ((*consumer)->guarantee().level, GuaranteeLevel::kAtLeastOnce);
  EXPECT_THAT((*consumer)->guarantee().reasons, ::testing::Contains(HasSubstr("store memory")));
}

TEST(ConsumerOptions, AConsumerThatNeverRanMayBeStopped) {
  const auto consumer = Consumer::Create(GoodOptions(), Handle);
  ASSERT_TRUE(consumer.ok());
  EXPECT_TRUE((*consumer)->Stop().ok());
}

TEST(ConsumerStats, AddUpFieldByField) {
  const ConsumerStats one = {.processed = 1,
                             .duplicates = 2,
                             .dead_lettered = 3,
                             .conflicts = 4,
                             .discarded = 5,
                             .retried = 6,
                             .fenced = 7,
                             .rollbacks = 8,
                             .commits = 9,
                             .gaps = 10,
                             .published = 11};
  ConsumerStats sum = one;
  sum += one;
  EXPECT_EQ(sum.processed, 2U);
  EXPECT_EQ(sum.duplicates, 4U);
  EXPECT_EQ(sum.dead_lettered, 6U);
  EXPECT_EQ(sum.conflicts, 8U);
  EXPECT_EQ(sum.discarded, 10U);
  EXPECT_EQ(sum.retried, 12U);
  EXPECT_EQ(sum.fenced, 14U);
  EXPECT_EQ(sum.rollbacks, 16U);
  EXPECT_EQ(sum.commits, 18U);
  EXPECT_EQ(sum.gaps, 20U);
  EXPECT_EQ(sum.published, 22U);
}

}  // namespace
}  // namespace once
