// Deposits booked once each in a RocksDB folder: balance and id commit together. The program runs
// itself through a restart, as a caller that never heard the first answers would.
#include <once/once.h>
#include <once/rocksdb/store.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

struct Deposit {
  std::string id;
  std::string account;
  int amount = 0;
};

absl::Status Book(const Deposit& deposit, once::Transaction& transaction) {
  absl::StatusOr<once::rocksdb::Table> balances = once::rocksdb::TableOf(transaction, "balances");
  if (!balances.ok()) return balances.status();
  const auto before = balances->Get(deposit.account);
  if (!before.ok()) return before.status();
  const int balance = (*before ? std::stoi(**before) : 0) + deposit.amount;
  return balances->Put(deposit.account, std::to_string(balance));
}

// Books all of them; how many were booked now. -1: something is wrong, and it was said.
int BookAll(const std::vector<Deposit>& deposits, int& balance) {
  const auto store = once::rocksdb::OpenStore({.path = "deposits.rocksdb", .tables = {"balances"}});
  if (!store.ok()) return std::puts(store.status().ToString().c_str()), -1;
  const auto book = once::Wrap<Deposit>(
      {.store = *store, .scope = "deposits", .id = [](const Deposit& d) { return d.id; }}, Book);
  if (!book.ok()) return std::puts(book.status().ToString().c_str()), -1;
  int booked = 0;
  for (const Deposit& deposit : deposits) {
    const absl::StatusOr<once::CallAnswer> answer = (*book)(deposit);
    if (!answer.ok()) return std::puts(answer.status().ToString().c_str()), -1;
    booked += answer->verdict == once::CallVerdict::kDone ? 1 : 0;
  }
  const absl::Status read = once::rocksdb::ForEachCommitted(
      **store, "balances", [&](std::string_view, std::string_view value) {
        balance = std::stoi(std::string(value));
        return true;
      });
  return read.ok() ? booked : -1;
}

int main() {
  const std::vector<Deposit> deposits = {{"a", "ann", 10}, {"b", "ann", 5}, {"a", "ann", 10}};
  int balance = 0;
  const bool is_right = BookAll(deposits, balance) == 2 && balance == 15 &&
                        BookAll(deposits, balance) == 0 && balance == 15;
  std::puts(is_right ? "booked once each" : "something was booked twice, or not at all");
  return is_right ? 0 : 1;
}
