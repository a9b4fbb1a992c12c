// What tests of outgoing messages in PostgreSQL share: transactions on connections that are not the
// store's, and what a broker was told. Thread-safety: OpenTransaction none; ToldMessages safe for
// concurrent use.
#pragma once

#include <libpq-fe.h>

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/postgres/outgoing_rows.h"
#include "adapters/postgres/tests/store_scene.h"
#include "once/outbox_relay.h"
#include "once/postgres/publish.h"
#include "once/transact.h"
#include "tests/telling_client.h"

namespace once::postgres {

// A user's own connection, with a transaction of his own.
class UsersSession {
 public:
  explicit UsersSession(const std::string& connection)
      : connection_(PQconnectdb(connection.c_str()), PQfinish) {
    EXPECT_EQ(PQstatus(get()), CONNECTION_OK) << PQerrorMessage(get());
  }
  PGconn* get() const { return connection_.get(); }
  // Empty: it succeeded.
  std::string Run(const std::string& sql) const {
    PGresult* const result = PQexec(get(), sql.c_str());
    const ExecStatusType status = PQresultStatus(result);
    PQclear(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? "" : PQerrorMessage(get());
  }
  void MustRun(const std::string& sql) const { EXPECT_EQ(Run(sql), "") << sql; }

 private:
  const std::unique_ptr<PGconn, void (*)(PGconn*)> connection_;
};

inline OutgoingMessage MessageOf(std::string key, std::string value) {
  return {.topic = "orders", .key = std::move(key), .value = std::move(value)};
}

// So many keys that are of one lane, and of different locks.
inline std::vector<std::string> KeysOfOneLane(std::size_t count) {
  std::vector<std::string> keys;
  std::set<std::uint64_t> locks;
  for (int i = 0; keys.size() < count; ++i) {
    const std::string key = absl::StrCat("k", i);
    const RowToPublish row = MakeRow(MessageOf(key, ""), 0);
    if (row.lane == 5 && locks.insert(row.order / kLanes % kOrderLocks).second) keys.push_back(key);
  }
  return keys;
}

// What a broker was told by all relays, in its order.
class ToldMessages {
 public:
  struct Told {
    std::string stamp;
    std::string key;
    std::string value;
  };

  RecordClientFactory clients() {
    return [this](const RecordClientOptions&) -> absl::StatusOr<std::unique_ptr<RecordClient>> {
      return std::make_unique<once::testing::TellingClient>(
          [this](const OutgoingRecord& record) { Tell(record); });
    };
  }
  // What another process was told.
  void Add(Told told) {
    const std::lock_guard lock(mutex_);
    told_.push_back(std::move(told));
  }
  std::vector<Told> told() const {
    const std::lock_guard lock(mutex_);
    return told_;
  }
  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return told_.size();
  }
  std::set<std::string> Values() const {
    std::set<std::string> values;
    for (const Told& one : told()) values.insert(one.value);
    return values;
  }
  // Every number names one message and every message has one number; and the first copies of each
  // key, in the order in which they were told, are to satisfy `judge(key, values)`.
  template <typename Judge>
  void Check(Judge judge) const {
    std::map<std::string, std::string> by_stamp;
    std::map<std::string, std::string> by_value;
    std::map<std::string, std::vector<std::string>> by_key;
    for (const Told& one : told()) {
      const bool is_new = by_stamp.try_emplace(one.stamp, one.value).second;
      EXPECT_EQ(by_stamp[one.stamp], one.value) << "a number that names two messages";
      EXPECT_EQ(by_value.try_emplace(one.value, one.stamp).first->second, one.stamp)
          << "a message with two numbers: " << one.value;
      if (is_new) by_key[one.key].push_back(one.value);
    }
    for (const auto& [key, values] : by_key) judge(key, values);
  }

 private:
  void Tell(const OutgoingRecord& record) {
    Add({.stamp = std::string(record.stamp),
         .key = record.message.key.value_or(""),
         .value = record.message.value.value_or("")});
  }

  mutable std::mutex mutex_;
  std::vector<Told> told_;
};

inline std::unique_ptr<OutboxRelay> MustCreateRelay(std::shared_ptr<DedupStore> store,
                                                    ToldMessages& told) {
  auto relay = OutboxRelay::Create(
      {.store = std::move(store), .clients = told.clients(), .round_rows_max = 5, .log = NoLog()});
  EXPECT_TRUE(relay.ok()) << relay.status();
  return relay.ok() ? *std::move(relay) : nullptr;
}

inline void RunUntilIdle(OutboxRelay& relay) {
  constexpr int kTurnsMax = 10'000;
  for (int i = 0; i < kTurnsMax; ++i) {
    relay.Step().IgnoreError();
    if (relay.is_idle()) return;
    absl::SleepFor(absl::Milliseconds(1));
  }
  ADD_FAILURE() << "the relay is at work all the time";
}

}  // namespace once::postgres
