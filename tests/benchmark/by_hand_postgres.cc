// By hand over PostgreSQL: an inbox table with a primary key on the ids, per 500 messages one
// transaction: statement by statement, or one statement over arrays.
#include <array>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>

#include "tests/benchmark/ledger.h"
#include "tests/benchmark/postgres_tables.h"
#include "tests/benchmark/workload.h"

namespace once::benchmark {
namespace {

std::int64_t OrderOf(const Effect& effect) {
  const std::optional<std::int64_t> order = ParseOrder(effect.value);
  if (!order) throw std::runtime_error("a message is not of the workload");
  return *order;
}

class PostgresLedger : public Ledger {
 public:
  explicit PostgresLedger(const Task& task) : connection_(ConnectTo(task.postgres)) {
    CreateEffectsIn(connection_.get(), SchemaOf(task));
    Run(connection_.get(), "CREATE TABLE seen(id text PRIMARY KEY)");
  }

 protected:
  template <std::size_t kCount>
  PostgresResult Execute(const char* statement, const std::array<const char*, kCount>& values) {
    return Checked(connection_.get(),
                   PQexecPrepared(connection_.get(), statement, static_cast<int>(kCount),
                                  values.data(), nullptr, nullptr, 0));
  }
  void Name(const char* statement, const char* sql) {
    Checked(connection_.get(), PQprepare(connection_.get(), statement, sql, 0, nullptr));
  }
  PGconn* connection() { return connection_.get(); }

 private:
  const PostgresConnection connection_;
};

class RowByRow final : public PostgresLedger {
 public:
  explicit RowByRow(const Task& task) : PostgresLedger(task) {
    Name("see", "INSERT INTO seen VALUES($1) ON CONFLICT DO NOTHING");
    Name("effect", "INSERT INTO effects VALUES($1, $2, $3, $4)");
  }

  std::size_t Apply(std::span<rd_kafka_message_t* const> batch) override {
    std::size_t fresh = 0;
    Run(connection(), "BEGIN");
    for (const rd_kafka_message_t* message : batch) {
      const std::string id(IdHeaderOf(*message));
      const PostgresResult seen = Execute<1>("see", {id.c_str()});
      if (std::atoi(PQcmdTuples(seen.get())) == 0) continue;
      ++fresh;
      const Effect effect = EffectOf(*message, id);
      const std::string order = std::to_string(OrderOf(effect));
      const std::string partition = std::to_string(effect.partition);
      const std::string place = std::to_string(effect.offset);
      Execute<4>("effect", {id.c_str(), order.c_str(), partition.c_str(), place.c_str()});
    }
    Run(connection(), "COMMIT");
    return fresh;
  }
};

class InArrays final : public PostgresLedger {
 public:
  explicit InArrays(const Task& task) : PostgresLedger(task) {
    Name("apply",
         "WITH batch AS (SELECT DISTINCT ON (id) * FROM unnest($1::text[], $2::int8[], $3::int4[], "
         "$4::int8[]) AS u(id, order_number, partition, place) ORDER BY id), "
         "fresh AS (INSERT INTO seen SELECT id FROM batch ON CONFLICT DO NOTHING RETURNING id) "
         "INSERT INTO effects SELECT batch.* FROM batch JOIN fresh USING (id)");
  }

  std::size_t Apply(std::span<rd_kafka_message_t* const> batch) override {
    std::array<std::string, 4> arrays = {"{", "{", "{", "{"};
    for (const rd_kafka_message_t* message : batch) {
      const Effect effect = EffectOf(*message, IdHeaderOf(*message));
      const char* const comma = arrays[0].size() > 1 ? "," : "";
      arrays[0].append(comma).append(effect.id);
      arrays[1].append(comma).append(std::to_string(OrderOf(effect)));
      arrays[2].append(comma).append(std::to_string(effect.partition));
      arrays[3].append(comma).append(std::to_string(effect.offset));
    }
    for (std::string& array : arrays) array.push_back('}');
    const PostgresResult applied = Execute<4>(
        "apply", {arrays[0].c_str(), arrays[1].c_str(), arrays[2].c_str(), arrays[3].c_str()});
    return static_cast<std::size_t>(std::atoll(PQcmdTuples(applied.get())));
  }
};

}  // namespace

Finish ConsumeByHandWithPostgresRows(const Task& task) {
  RowByRow ledger(task);
  return ConsumeByHand(task, ledger);
}

Finish ConsumeByHandWithPostgresArrays(const Task& task) {
  InArrays ledger(task);
  return ConsumeByHand(task, ledger);
}

}  // namespace once::benchmark
