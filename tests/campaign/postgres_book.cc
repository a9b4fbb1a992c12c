// Effects as rows.
#include "tests/campaign/postgres_book.h"

#include <bit>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/tests/test_server.h"
#include "once/postgres/connection.h"
#include "tests/campaign/postgres_kind.h"
#include "tests/forwarding_seams.h"

namespace once::campaign {
namespace {

// Of ours: what cannot be read ends the campaign.
std::int64_t NumberIn(const std::string& cell) { return std::stoll(cell); }

}  // namespace

absl::Status BookInPostgres(Transaction& transaction, const Effect& effect) {
  // Sums in halves: integers do not wrap.
  const auto value = std::bit_cast<std::int64_t>(effect.value);
  return postgres::Connection(testing::Innermost(transaction))
      .Execute(
          "WITH booked AS (INSERT INTO booked(id, part, offs, value) VALUES($1, $2::int4, "
          "$3::int8, "
          "$4::int8)) INSERT INTO totals AS t VALUES($2::int4, 1, $5::int8, $6::int8) ON CONFLICT "
          "(part) DO UPDATE SET count = t.count + 1, low = t.low + EXCLUDED.low, high = t.high + "
          "EXCLUDED.high",
          {std::string_view(effect.id), static_cast<std::int64_t>(effect.partition), effect.offset,
           value, static_cast<std::int64_t>(effect.value & 0xffffffffU),
           static_cast<std::int64_t>(effect.value >> 32)})
      .status();
}

std::vector<Effect> ReadPostgresEffects(const std::string& path) {
  std::vector<Effect> effects;
  for (const auto& row : postgres::testing::RunSql(
           PlaceOf(path).connection, "SELECT id, part, offs, value FROM booked ORDER BY number")) {
    effects.push_back({.id = row[0],
                       .partition = static_cast<std::int32_t>(NumberIn(row[1])),
                       .offset = NumberIn(row[2]),
                       .value = std::bit_cast<std::uint64_t>(NumberIn(row[3]))});
  }
  return effects;
}

std::map<std::int32_t, EffectTotal> ReadPostgresTotals(const std::string& path) {
  std::map<std::int32_t, EffectTotal> totals;
  for (const auto& row : postgres::testing::RunSql(PlaceOf(path).connection,
                                                   "SELECT part, count, low, high FROM totals")) {
    const auto low = static_cast<std::uint64_t>(NumberIn(row[2]));
    const auto high = static_cast<std::uint64_t>(NumberIn(row[3]));
    totals[static_cast<std::int32_t>(NumberIn(row[0]))] = {.count = NumberIn(row[1]),
                                                           .sum = low + (high << 32)};
  }
  return totals;
}

}  // namespace once::campaign
