// Binary formats.
#include "adapters/postgres/params.h"

#include <limits>

namespace once::postgres {

void Column::Add(std::int64_t value) {
  ++count_;
  switch (type_) {
    case Type::kBool:
      AppendBigEndian(elements_, std::int32_t{1});
      elements_.push_back(value != 0 ? 1 : 0);
      return;
    case Type::kInt2:
      AppendBigEndian(elements_, std::int32_t{2});
      AppendBigEndian(elements_, static_cast<std::int16_t>(value));
      return;
    case Type::kInt4:
      AppendBigEndian(elements_, std::int32_t{4});
      AppendBigEndian(elements_, static_cast<std::int32_t>(value));
      return;
    case Type::kInt8:
    case Type::kBytes:
      AppendBigEndian(elements_, std::int32_t{8});
      AppendBigEndian(elements_, value);
      return;
  }
}

void Column::AddBytes(std::string_view bytes) {
  ++count_;
  AppendBigEndian(elements_, static_cast<std::int32_t>(bytes.size()));
  elements_.append(bytes);
}

void Column::AddNull() {
  ++count_;
  has_nulls_ = true;
  AppendBigEndian(elements_, std::int32_t{-1});
}

void Column::AddTime(absl::Time time) {
  if (time == absl::InfinitePast()) {
    AddNull();
  } else {
    Add(MicrosOf(time));
  }
}

std::string Column::Encode() const {
  std::string out;
  AppendBigEndian(out, std::int32_t{count_ == 0 ? 0 : 1});  // dimensions
  AppendBigEndian(out, std::int32_t{has_nulls_ ? 1 : 0});
  AppendBigEndian(out, static_cast<std::uint32_t>(type_));
  if (count_ == 0) return out;
  AppendBigEndian(out, count_);
  AppendBigEndian(out, std::int32_t{1});  // the first index
  return out.append(elements_);
}

Params& Params::Int8(std::int64_t value) {
  AppendBigEndian(values_.emplace_back(std::string()).value(), value);
  return *this;
}

Params& Params::Int4(std::int32_t value) {
  AppendBigEndian(values_.emplace_back(std::string()).value(), value);
  return *this;
}

Params& Params::Bytes(std::string_view bytes) {
  values_.emplace_back(std::string(bytes));
  return *this;
}

Params& Params::Bool(bool value) {
  values_.emplace_back(std::string(1, value ? '\1' : '\0'));
  return *this;
}

Params& Params::Null() {
  values_.emplace_back(std::nullopt);
  return *this;
}

Params& Params::Array(const Column& column) {
  values_.emplace_back(column.Encode());
  return *this;
}

// Saturates, so that InfiniteFuture() becomes the greatest number.
std::int64_t MicrosOf(absl::Time time) { return absl::ToUnixMicros(time); }

absl::Time TimeOf(std::int64_t micros) {
  return micros == std::numeric_limits<std::int64_t>::max() ? absl::InfiniteFuture()
                                                            : absl::FromUnixMicros(micros);
}

}  // namespace once::postgres
