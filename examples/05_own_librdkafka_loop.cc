// A consumer loop of your own, on librdkafka: Wrap books each payment once, together with its id.
//
//   05_own_librdkafka_loop [HOST:PORT]     topic payments, keyed by payment; writes ledger.db
#include <librdkafka/rdkafkacpp.h>
#include <once/once.h>
#include <once/sqlite/store.h>
#include <signal.h>
#include <sqlite3.h>

using RdKafka::KafkaConsumer, RdKafka::Message;
volatile sig_atomic_t is_stopping = 0;

absl::Status Execute(sqlite3* db, const char* format, const std::string& value = "") {
  char* sql = sqlite3_mprintf(format, value.c_str());
  const int code = sqlite3_exec(db, sql, nullptr, nullptr, nullptr);
  sqlite3_free(sql);
  return code == SQLITE_OK ? absl::OkStatus() : absl::UnavailableError(sqlite3_errmsg(db));
}

absl::Status Book(const Message& payment, once::Transaction& transaction) {
  return Execute(once::sqlite::Connection(transaction), "INSERT INTO ledger VALUES(%Q)",
                 {static_cast<const char*>(payment.payload()), payment.len()});
}

// Books until the answer is final: only then the offset may be committed.
bool Settle(const once::Wrapped<Message>& book, const Message& payment) {
  auto answer = book(payment);
  for (; !answer.ok() || !answer->is_settled(); answer = book(payment)) {
    if (is_stopping != 0) return false;
    absl::SleepFor(answer.ok() ? answer->wait : absl::Seconds(1));
  }
  if (!answer->has_happened()) puts("not booked, for good: keep this message somewhere safe");
  return true;
}

int main(int argc, char** argv) {
  signal(SIGTERM, [](int) { is_stopping = 1; });
  const auto store = once::sqlite::OpenStore(
      {.path = "ledger.db", .setup = [](sqlite3* db) {
         return Execute(db, "CREATE TABLE IF NOT EXISTS ledger(amount TEXT)");
       }});
  const auto id = [](const Message& p) {  // or its place, where it has no key
    return p.key() ? *p.key() : absl::StrCat(p.partition(), "/", p.offset());
  };
  const auto book = once::Wrap<Message>({.store = *store, .scope = "ledger", .id = id}, Book);
  const std::unique_ptr<RdKafka::Conf> conf(RdKafka::Conf::create(RdKafka::Conf::CONF_GLOBAL));
  std::string error;
  conf->set("bootstrap.servers", argc > 1 ? argv[1] : "localhost:9092", error);
  conf->set("group.id", "ledger", error);
  conf->set("enable.auto.commit", "false", error);
  conf->set("auto.offset.reset", "earliest", error);
  const std::unique_ptr<KafkaConsumer> consumer(KafkaConsumer::create(conf.get(), error));
  if (consumer == nullptr || consumer->subscribe({"payments"}) != 0) return 1;
  while (is_stopping == 0) {
    const std::unique_ptr<Message> payment(consumer->consume(/*timeout_ms=*/100));
    if (payment->err() == 0 && Settle(*book, *payment)) consumer->commitSync(payment.get());
  }
  return consumer->close();
}
