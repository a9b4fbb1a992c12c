// Parameters of the store's own statements, in PostgreSQL's binary format: big-endian integers,
// bytes as they are, arrays with a null bit. Source of the formats: PostgreSQL's documentation,
// "Frontend/Backend Protocol", and array_recv() in its sources.
// Thread-safety: none.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "once/message_id.h"

namespace once::postgres {

template <typename Int>
void AppendBigEndian(std::string& out, Int value) {
  const auto bits = static_cast<std::make_unsigned_t<Int>>(value);
  for (std::size_t i = sizeof(Int); i-- > 0;) {
    out.push_back(static_cast<char>(static_cast<unsigned char>((bits >> (8 * i)) & 0xff)));
  }
}

// One array parameter, a column of what unnest() makes rows of.
class Column {
 public:
  enum class Type : std::uint32_t { kBool = 16, kBytes = 17, kInt8 = 20, kInt2 = 21, kInt4 = 23 };

  explicit Column(Type type) : type_(type) {}

  void Add(std::int64_t value);  // of an integer type or kBool
  void AddUnsigned(std::uint64_t value) { Add(std::bit_cast<std::int64_t>(value)); }
  void AddBytes(std::string_view bytes);
  void AddNull();
  // "Never" is null: the usual row stays small.
  void AddTime(absl::Time time);

  std::string Encode() const;

 private:
  Type type_;
  std::int32_t count_ = 0;
  bool has_nulls_ = false;
  std::string elements_;
};

// The parameters of one statement, in order.
class Params {
 public:
  Params& Int8(std::int64_t value);
  Params& Int4(std::int32_t value);
  Params& Bytes(std::string_view bytes);
  Params& Bool(bool value);
  Params& Null();
  Params& Array(const Column& column);

  const std::vector<std::optional<std::string>>& values() const { return values_; }

 private:
  std::vector<std::optional<std::string>> values_;
};

// Columns of times are microseconds; null is "never", the greatest number "for ever".
std::int64_t MicrosOf(absl::Time time);
absl::Time TimeOf(std::int64_t micros);

}  // namespace once::postgres
