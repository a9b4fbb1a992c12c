// A Result is what the server answered to one statement, in the binary format.
// Thread-safety: as a value.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "adapters/postgres/params.h"

namespace once::postgres {

struct ResultDeleter {
  void operator()(PGresult* result) const { PQclear(result); }
};

class Result {
 public:
  explicit Result(PGresult* result) : result_(result) {}

  int rows() const { return PQntuples(result_.get()); }
  int columns() const { return PQnfields(result_.get()); }
  bool IsNull(int row, int column) const { return PQgetisnull(result_.get(), row, column) != 0; }
  // Also text. Empty for null.
  std::string_view Bytes(int row, int column) const {
    return {PQgetvalue(result_.get(), row, column),
            static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
  }
  // Of any integer type and of booleans; null is 0.
  std::int64_t Int(int row, int column) const {
    const std::string_view bytes = Bytes(row, column);
    if (bytes.empty()) return 0;
    std::uint64_t bits = static_cast<signed char>(bytes[0]) < 0 ? ~std::uint64_t{0} : 0;
    for (const char byte : bytes) bits = bits << 8 | static_cast<unsigned char>(byte);
    return std::bit_cast<std::int64_t>(bits);
  }
  std::uint64_t Unsigned(int row, int column) const {
    return std::bit_cast<std::uint64_t>(Int(row, column));
  }
  absl::Time Time(int row, int column) const {
    return IsNull(row, column) ? absl::InfinitePast() : TimeOf(Int(row, column));
  }
  Fingerprint Print(int row, int column) const {  // of two columns
    return {.high = Unsigned(row, column), .low = Unsigned(row, column + 1)};
  }
  // "COMMIT", "INSERT 0 5", …
  std::string_view tag() const { return PQcmdStatus(result_.get()); }
  // Of the rows that the statement changed, as text.
  std::string_view changed() const { return PQcmdTuples(result_.get()); }

  PGresult* get() const { return result_.get(); }

 private:
  std::unique_ptr<PGresult, ResultDeleter> result_;
};

}  // namespace once::postgres
