// What the errors of transactional calls mean, and which options are refused. No broker is needed.
#include "adapters/kafka/transaction_rules.h"

#include <functional>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "once/kafka/transactional_producer.h"

namespace once::kafka {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(TransactionRules, NoErrorIsNone) { EXPECT_EQ(TakeError(nullptr), std::nullopt); }

TEST(TransactionRules, EveryNameOfAFencedProducerIsKnown) {
  for (const rd_kafka_resp_err_t code :
       {RD_KAFKA_RESP_ERR__FENCED, RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
        RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH}) {
    EXPECT_TRUE(IsProducerFenced(code)) << rd_kafka_err2name(code);
  }
  EXPECT_FALSE(IsProducerFenced(RD_KAFKA_RESP_ERR_NO_ERROR));
  EXPECT_FALSE(IsProducerFenced(RD_KAFKA_RESP_ERR__TIMED_OUT));
}

TEST(TransactionRules, OnlyWhatPassesIsRepeated) {
  EXPECT_TRUE(IsWorthRepeating({.is_retriable = true}));
  EXPECT_FALSE(IsWorthRepeating({}));
  EXPECT_FALSE(IsWorthRepeating({.is_fatal = true, .is_retriable = true}));
  EXPECT_FALSE(IsWorthRepeating({.requires_abort = true, .is_retriable = true}));
}

TEST(TransactionRules, WhyNoneCanBegin) {
  const auto code_of = [](rd_kafka_resp_err_t code) { return InitStatus({.code = code}).code(); };
  EXPECT_EQ(code_of(RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of(RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(code_of(RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(code_of(RD_KAFKA_RESP_ERR__TIMED_OUT), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code_of(RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE), absl::StatusCode::kUnavailable);
}

TEST(TransactionRules, WhatNoRepetitionCanHelpStaysThat) {
  EXPECT_TRUE(absl::IsInvalidArgument(AbortedBecause(absl::InvalidArgumentError("too large"))));
  EXPECT_TRUE(absl::IsAborted(AbortedBecause(absl::ResourceExhaustedError("full"))));
  EXPECT_THAT(std::string(AbortedBecause(absl::UnavailableError("away")).message()),
              AllOf(HasSubstr("aborted"), HasSubstr("away")));
}

TransactionalProducerOptions Good() {
  return {.brokers = "127.0.0.1:1", .transactional_id = "t", .log = NoLog()};
}

std::string Refusal(TransactionalProducerOptions options) {
  const auto producer = TransactionalProducer::Create(std::move(options));
  EXPECT_TRUE(absl::IsInvalidArgument(producer.status())) << producer.status();
  return std::string(producer.status().message());
}

TEST(TransactionalProducerOptions, ARefusalNamesTheFieldOrProperty) {
  EXPECT_TRUE(TransactionalProducer::Create(Good()).ok());
  const auto refusal = [](const std::function<void(TransactionalProducerOptions&)>& change) {
    TransactionalProducerOptions options = Good();
    change(options);
    return Refusal(std::move(options));
  };
  EXPECT_THAT(refusal([](auto& o) { o.brokers = ""; }), HasSubstr(".brokers"));
  EXPECT_THAT(refusal([](auto& o) { o.transactional_id = ""; }), HasSubstr(".transactional_id"));
  EXPECT_THAT(refusal([](auto& o) { o.ids.header = ""; }), HasSubstr(".ids.header"));
  EXPECT_THAT(refusal([](auto& o) { o.times.transaction_timeout = absl::Milliseconds(1); }),
              HasSubstr(".times.transaction_timeout"));
  EXPECT_THAT(refusal([](auto& o) { o.times.transaction_timeout = absl::InfiniteDuration(); }),
              HasSubstr(".times.transaction_timeout"));
  EXPECT_THAT(refusal([](auto& o) { o.times.init_timeout = -absl::Seconds(1); }),
              HasSubstr(".times.init_timeout"));
  EXPECT_THAT(refusal([](auto& o) { o.linger = absl::Minutes(2); }), HasSubstr(".linger"));
  EXPECT_THAT(refusal([](auto& o) { o.limits.messages_max = 0; }), HasSubstr(".messages_max"));
  EXPECT_THAT(refusal([](auto& o) { o.limits.queue_bytes_max = 1; }),
              HasSubstr(".queue_bytes_max"));
  EXPECT_THAT(refusal([](auto& o) { o.random = nullptr; }), HasSubstr(".random"));
}

TEST(TransactionalProducerOptions, WhatTheAdapterOwnsIsRefusedWithTheWayOut) {
  for (const auto& [name, way_out] :
       {std::pair{"transactional.id", ".transactional_id"},
        std::pair{"transaction.timeout.ms", ".times"},
        std::pair{"enable.idempotence", "in-sync replica"}, std::pair{"acks", "in-sync replica"}}) {
    TransactionalProducerOptions options = Good();
    options.properties = {{name, "1"}};
    EXPECT_THAT(Refusal(options), AllOf(HasSubstr(name), HasSubstr(way_out)));
  }
  TransactionalProducerOptions options = Good();
  options.properties = {{"security.protocol", "hunter2"}, {"sasl.password", "hunter2"}};
  EXPECT_THAT(Refusal(options), AllOf(HasSubstr("security.protocol"), Not(HasSubstr("hunter2"))));
}

TEST(TransactionalProducerOptions, NobodyWhoAnswersIsSaidAndNothingHangs) {
  TransactionalProducerOptions options = Good();
  options.times.init_timeout = absl::Milliseconds(200);
  const auto producer = TransactionalProducer::Create(std::move(options));
  ASSERT_TRUE(producer.ok()) << producer.status();
  for (int i = 0; i < 2; ++i) {
    const absl::Time before = absl::Now();
    const auto transaction = (*producer)->Begin();
    EXPECT_TRUE(absl::IsUnavailable(transaction.status())) << transaction.status();
    EXPECT_LT(absl::Now() - before, absl::Seconds(10));
  }
  EXPECT_TRUE((*producer)->status().ok());
}

}  // namespace
}  // namespace once::kafka
