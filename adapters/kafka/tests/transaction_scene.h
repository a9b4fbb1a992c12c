// What tests of transactional producers share. Thread-safety: one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "once/kafka/transactional_producer.h"

namespace once::kafka::testing {

constexpr absl::Duration kTransactionPatience = absl::Seconds(60);

inline std::unique_ptr<TransactionalProducer> OpenTransactional(
    const std::string& brokers, const std::string& transactional_id,
    TransactionalProducerOptions options = {}) {
  options.brokers = brokers;
  options.transactional_id = transactional_id;
  options.log = NoLog();
  auto producer = TransactionalProducer::Create(std::move(options));
  EXPECT_TRUE(producer.ok()) << producer.status();
  return *std::move(producer);
}

inline KafkaTransaction BeginOn(TransactionalProducer& producer) {
  auto transaction = producer.Begin();
  if (!transaction.ok()) throw std::runtime_error(transaction.status().ToString());
  return *std::move(transaction);
}

inline absl::Status CommitSoon(KafkaTransaction& transaction) {
  return transaction.Commit(absl::Now() + kTransactionPatience);
}

inline void SendTo(KafkaTransaction& transaction, const std::string& topic,
                   const std::string& value) {
  const auto sent =
      transaction.Send({.topic = topic, .value = value, .headers = {{"once-id", "id-" + value}}});
  EXPECT_TRUE(sent.ok()) << sent.status();
}

inline std::vector<std::string> ValuesIn(TestBroker& broker, const std::string& topic,
                                         const std::string& isolation = "read_committed") {
  std::vector<std::string> values;
  for (const auto& stored : broker.DumpTopic(topic, isolation)) {
    values.push_back(stored.message.value.value_or("(null)"));
  }
  return values;
}

// Looks every 20 ms. False: not within kTransactionPatience.
inline bool AwaitThat(const std::function<bool()>& condition) {
  const absl::Time deadline = absl::Now() + kTransactionPatience;
  while (!condition()) {
    if (absl::Now() >= deadline) return false;
    absl::SleepFor(absl::Milliseconds(20));
  }
  return true;
}

// Until so many records are stored, committed or not.
inline bool AwaitStored(TestBroker& broker, const std::string& topic, std::size_t count) {
  return AwaitThat([&] { return ValuesIn(broker, topic, "read_uncommitted").size() >= count; });
}

}  // namespace once::kafka::testing
