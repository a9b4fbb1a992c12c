// What may be in the hash of an id, by the rules that the scripts keep.
// Pure.
#pragma once

#include <cstddef>
#include <map>
#include <string>

namespace once::redis {

// More fields than any has.
inline constexpr std::size_t kIdFieldsMax = 16;
// Of a field's value; longer is none of ours. The result is told by its length.
inline constexpr std::size_t kFieldBytesMax = 64;

struct IdHash {
  std::map<std::string, std::string> fields;
  bool is_expiring = false;  // it has a time to live
};

// Why no script of ours has left it so; empty: one may have.
std::string FindContradiction(const IdHash& hash);

}  // namespace once::redis
