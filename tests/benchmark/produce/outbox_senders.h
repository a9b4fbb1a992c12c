// The outbox as a way to send: rows that wait in a store, and a relay that publishes them. As in
// senders.h.
#pragma once

#include <string>

#include "tests/benchmark/produce/senders.h"

namespace once::benchmark {

enum class OutboxStore { kSqlite, kRocksDb, kPostgres };

// Commits the messages in transactions of kRowsTogether; is not measured.
void FillOutbox(const SendTask& task, OutboxStore kind);
inline constexpr std::int64_t kRowsTogether = 1'000;
// From the relay's start until all are acknowledged.
double SendFromOutbox(const SendTask& task, OutboxStore kind);
// What FillOutbox has made.
void DropOutbox(const SendTask& task, OutboxStore kind);

}  // namespace once::benchmark
