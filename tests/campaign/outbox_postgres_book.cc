// The books in PostgreSQL. A writer of its own publishes on a plain connection (PublishIn).
#include <libpq-fe.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/postgres/tests/test_server.h"
#include "once/postgres/connection.h"
#include "once/postgres/publish.h"
#include "once/postgres/store.h"
#include "tests/campaign/outbox_book.h"
#include "tests/campaign/postgres_kind.h"

namespace once::campaign {
namespace {

using postgres::testing::RunSql;

// How long the server may be away when a process begins.
constexpr absl::Duration kOpenPatience = absl::Seconds(30);
constexpr absl::Duration kPause = absl::Milliseconds(50);

class PublishInWriter final : public OutboxWriter {
 public:
  PublishInWriter(PostgresPlace place, std::string topic)
      : place_(std::move(place)), topic_(std::move(topic)) {}

  absl::Status Write(const OutboxWrite& write) override {
    if (absl::Status ready = Connect(); !ready.ok()) return ready;
    absl::Status written = Run("BEGIN");
    if (written.ok()) written = Publish(write);
    if (written.ok()) absl::SleepFor(write.hold);
    if (!written.ok() || write.is_undone) {
      const absl::Status undone = Run("ROLLBACK");
      if (!undone.ok()) connection_.reset();
      return written.ok() ? absl::CancelledError("undone on purpose") : written;
    }
    const absl::Status committed = Run("COMMIT");
    if (committed.ok()) return committed;
    connection_.reset();
    return absl::UnknownError(committed.message());
  }

 private:
  absl::Status Connect() {
    if (connection_ != nullptr && PQstatus(connection_.get()) == CONNECTION_OK) {
      return absl::OkStatus();
    }
    connection_.reset(PQconnectdb(place_.connection.c_str()));
    return Run("SET lock_timeout TO '2s'");
  }

  absl::Status Publish(const OutboxWrite& write) {
    std::vector<OutgoingMessage> messages;
    for (const SentMessage& row : write.rows) {
      messages.push_back({.topic = topic_, .key = row.key, .value = EncodeSent(row)});
    }
    absl::Status published =
        postgres::PublishIn(connection_.get(), messages, {.schema = place_.schema});
    for (const SentMessage& row : write.rows) {
      if (!published.ok()) return published;
      published = Run(absl::StrCat("INSERT INTO outbox_book(key, name) VALUES('", row.key, "', '",
                                   row.name, "')"));
    }
    return published;
  }

  // The commands answer with rows of nothing.
  absl::Status Run(const std::string& sql) {
    const std::unique_ptr<PGresult, void (*)(PGresult*)> result(
        PQexec(connection_.get(), sql.c_str()), PQclear);
    if (PQresultStatus(result.get()) == PGRES_COMMAND_OK) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat(sql, ": ", PQerrorMessage(connection_.get())));
  }

  const PostgresPlace place_;
  const std::string topic_;
  std::unique_ptr<PGconn, void (*)(PGconn*)> connection_{nullptr, PQfinish};
};

class PostgresBook final : public OutboxBook {
 public:
  std::string_view name() const override { return "postgres"; }

  absl::StatusOr<std::shared_ptr<DedupStore>> Open(const std::string& path,
                                                   absl::Duration) const override {
    const PostgresPlace place = PlaceOf(path);
    const absl::Time deadline = absl::Now() + kOpenPatience;
    for (;;) {
      auto store = postgres::OpenStore({.connection = place.connection, .schema = place.schema});
      if (!absl::IsUnavailable(store.status()) || absl::Now() > deadline) return store;
      absl::SleepFor(kPause);
    }
  }

  absl::StatusOr<std::int64_t> Put(Transaction& transaction, const std::string& key,
                                   const std::string& name) const override {
    const auto put = postgres::Connection(transaction)
                         .Execute("INSERT INTO outbox_book(key, name) VALUES($1, $2)",
                                  {std::string_view(key), std::string_view(name)});
    if (!put.ok()) return put.status();
    return 0;
  }

  std::unique_ptr<OutboxWriter> NewWriter(const std::string& path,
                                          const std::string& topic) const override {
    return std::make_unique<PublishInWriter>(PlaceOf(path), topic);
  }

  std::vector<SentMessage> Read(const std::string& path) const override {
    std::vector<SentMessage> messages;
    for (const auto& row : RunSql(
             PlaceOf(path).connection,
             "SELECT b.key, t.number, b.name FROM outbox_book b JOIN outbox_turns t USING(name)")) {
      messages.push_back({.key = row[0], .number = std::stoll(row[1]), .name = row[2]});
    }
    return messages;
  }
};

}  // namespace

const OutboxBook& PostgresOutboxBook() {
  static const PostgresBook* const book = new PostgresBook;
  return *book;
}

// Deferred triggers run when the commit has begun, behind the transaction's last statement: whoever
// holds the lock of a key then commits before the next one gets it.
void MakePostgresBook(const std::string& path) {
  RunSql(PlaceOf(path).connection,
         "CREATE TABLE outbox_book(key text NOT NULL, name text PRIMARY KEY);"
         "CREATE TABLE outbox_turns(name text PRIMARY KEY, number int8 NOT NULL);"
         "CREATE SEQUENCE outbox_numbers;"
         "CREATE FUNCTION outbox_take_turn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT "
         "INTO outbox_turns VALUES(NEW.name, nextval('outbox_numbers')); RETURN NULL; END $$;"
         "CREATE CONSTRAINT TRIGGER outbox_turn AFTER INSERT ON outbox_book DEFERRABLE INITIALLY "
         "DEFERRED FOR EACH ROW EXECUTE FUNCTION outbox_take_turn()");
}

}  // namespace once::campaign
