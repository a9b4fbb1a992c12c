// Answers every payment with a receipt: the charge, the payment's id and the receipt commit in one
// transaction, and a relay publishes what is committed. Stop it with Ctrl-C and start it again, or
// kill it at any moment: every charge has its receipt, and no receipt is without its charge.
//
//   12_outbox [HOST:PORT]     topic payments, header payment-id; writes receipts.db, topic receipts
#include <once/kafka/dead_letter_topic.h>
#include <once/kafka/record_client.h>
#include <once/kafka/source.h>
#include <once/once.h>
#include <once/sqlite/store.h>
#include <sqlite3.h>

#include <cstdio>
#include <string>
#include <thread>

absl::Status CreateTables(sqlite3* db) {
  const int code = sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS charges(id TEXT NOT NULL)", nullptr,
                                nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : absl::InternalError(sqlite3_errmsg(db));
}

absl::Status Charge(const once::Message& payment, once::Transaction& transaction) {
  sqlite3* db = once::sqlite::Connection(transaction);
  sqlite3_stmt* insert = nullptr;
  sqlite3_prepare_v2(db, "INSERT INTO charges VALUES(?)", -1, &insert, nullptr);
  const std::string id(payment.id());
  sqlite3_bind_text(insert, 1, id.c_str(), -1, SQLITE_STATIC);
  sqlite3_step(insert);  // whatever went wrong, finalize() says it again
  if (sqlite3_finalize(insert) != SQLITE_OK) return absl::UnavailableError(sqlite3_errmsg(db));
  return transaction.Publish({.topic = "receipts",
                              .key = id,
                              .value = "charged " + std::string(payment.value().value_or("")),
                              .headers = {{"once-id", "receipt-" + id}}});
}

absl::Status Run(const std::string& brokers) {
  auto source =
      once::kafka::Subscribe({.brokers = brokers, .group = "receipts", .topics = {"payments"}});
  auto store = once::sqlite::OpenStore({.path = "receipts.db", .setup = CreateTables});
  auto dead_letters = once::kafka::OpenDeadLetterTopic({.brokers = brokers});
  if (!source.ok()) return source.status();
  if (!store.ok()) return store.status();
  if (!dead_letters.ok()) return dead_letters.status();
  auto relay = once::OutboxRelay::Create(
      {.store = *store, .clients = once::kafka::RecordClients({.brokers = brokers})});
  if (!relay.ok()) return relay.status();
  auto consumer = once::Consumer::Create({.source = *std::move(source),
                                          .store = *store,
                                          .id = once::HeaderId("payment-id"),
                                          .dead_letters = *dead_letters},
                                         Charge);
  if (!consumer.ok()) return consumer.status();

  absl::Status relayed;
  std::jthread thread([&](std::stop_token stop) { relayed = (*relay)->Run(stop); });
  const absl::Status consumed = once::RunUntilSignal(**consumer);
  thread.request_stop();  // it publishes what is on its way, and marks where it ends
  thread.join();
  const auto left = (*store)->transactions()->outgoing()->Count();
  if (left.ok()) std::printf("receipts that are not published yet: %zu\n", left->waiting);
  return consumed.ok() ? relayed : consumed;
}

int main(int argc, char** argv) {
  const absl::Status status = Run(argc > 1 ? argv[1] : "localhost:9092");
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
