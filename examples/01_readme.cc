// Charges every payment once: Kafka in, SQLite out. Stop it with Ctrl-C and start it again, or kill
// it at any moment: the charge, the payment's id and the position commit in one transaction.
//
//   01_readme [HOST:PORT]     topic payments, header payment-id; writes billing.db
#include <once/kafka/dead_letter_topic.h>
#include <once/kafka/source.h>
#include <once/once.h>
#include <once/sqlite/store.h>
#include <sqlite3.h>

#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

absl::Status CreateTables(sqlite3* db) {
  const int code = sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS charges(amount TEXT NOT NULL)",
                                nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : absl::InternalError(sqlite3_errmsg(db));
}

absl::Status Charge(sqlite3* db, std::optional<std::string_view> amount) {
  if (!amount) return absl::InvalidArgumentError("a payment needs an amount");
  sqlite3_stmt* insert = nullptr;
  sqlite3_prepare_v2(db, "INSERT INTO charges VALUES(?)", -1, &insert, nullptr);
  sqlite3_bind_text64(insert, 1, amount->data(), amount->size(), SQLITE_STATIC, SQLITE_UTF8);
  sqlite3_step(insert);  // whatever went wrong, finalize() says it again
  return sqlite3_finalize(insert) == SQLITE_OK ? absl::OkStatus()
                                               : absl::UnavailableError(sqlite3_errmsg(db));
}

absl::Status Run(const std::string& brokers) {
  auto source =
      once::kafka::Subscribe({.brokers = brokers, .group = "billing", .topics = {"payments"}});
  auto store = once::sqlite::OpenStore({.path = "billing.db", .setup = CreateTables});
  auto dead_letters = once::kafka::OpenDeadLetterTopic({.brokers = brokers});
  if (!source.ok()) return source.status();
  if (!store.ok()) return store.status();
  if (!dead_letters.ok()) return dead_letters.status();
  auto consumer = once::Consumer::Create(
      {.source = *std::move(source),
       .store = *store,
       .id = once::HeaderId("payment-id"),
       .retry = {.max_attempts = 5, .backoff = {.initial = absl::Seconds(1)}},
       .dead_letters = *dead_letters},
      [](const once::Message& message, once::Transaction& transaction) {
        return Charge(once::sqlite::Connection(transaction), message.value());
      });
  if (!consumer.ok()) return consumer.status();
  return once::RunUntilSignal(**consumer);
}

int main(int argc, char** argv) {
  const absl::Status status = Run(argc > 1 ? argv[1] : "localhost:9092");
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
