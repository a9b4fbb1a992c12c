// Deposits booked once each in a PostgreSQL database: balance and id commit together. Run it as
// often as you like, from as many processes as you like: the balance stays what it is.
#include <once/once.h>
#include <once/postgres/store.h>

#include <cstdio>
#include <string>
#include <vector>

struct Deposit {
  std::string id;
  std::string account;
  std::int64_t amount = 0;
};

absl::Status Book(const Deposit& deposit, once::Transaction& transaction) {
  once::postgres::Connection connection(transaction);
  return connection
      .Execute(
          "INSERT INTO balances VALUES($1, $2) ON CONFLICT (account) DO UPDATE SET amount = "
          "balances.amount + EXCLUDED.amount",
          {deposit.account, deposit.amount})
      .status();
}

// One statement in a transaction of its own.
absl::StatusOr<once::postgres::ResultRows> Ask(once::DedupStore& store, const char* sql) {
  auto begun = store.transactions()->Begin({});
  if (!begun.ok()) return begun.status();
  auto rows = once::postgres::Connection(*begun->transaction).Query(sql);
  if (!rows.ok()) return rows.status();
  const absl::Status done = begun->transaction->Commit(once::Durability::kMachine);
  if (!done.ok()) return done;
  return rows;
}

absl::StatusOr<std::int64_t> BookAll(const std::string& server, const std::vector<Deposit>& all) {
  const auto store = once::postgres::OpenStore({.connection = server, .schema = "example_once"});
  if (!store.ok()) return store.status();
  const auto created =
      Ask(**store, "CREATE TABLE IF NOT EXISTS balances(account text PRIMARY KEY, amount bigint)");
  if (!created.ok()) return created.status();
  const auto book = once::Wrap<Deposit>(
      {.store = *store, .scope = "deposits", .id = [](const Deposit& d) { return d.id; }}, Book);
  if (!book.ok()) return book.status();
  for (const Deposit& deposit : all) {
    if (const auto answer = (*book)(deposit); !answer.ok()) return answer.status();
  }
  const auto rows = Ask(**store, "SELECT amount FROM balances WHERE account = 'ann'");
  return rows.ok() ? rows->Int(0, 0) : rows.status();
}

int main(int count, char** arguments) {
  if (count < 2) return std::puts("usage: 09_postgres \"host=… dbname=…\""), 1;
  const auto balance = BookAll(arguments[1], {{"a", "ann", 10}, {"b", "ann", 5}, {"a", "ann", 10}});
  std::puts(balance.ok() ? std::to_string(*balance).c_str() : balance.status().ToString().c_str());
  return balance.ok() && *balance == 15 ? 0 : 1;
}
