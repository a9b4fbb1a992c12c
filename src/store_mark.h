// A StoreMark is what every commit of offsets carries as its metadata at the broker: which store
// the offset was settled in. Whoever reads the offset later can tell a store that lost its tail
// from another store, and both from a tool that moved the group's offsets.
//
//   once/1 open=12 began=400 store=5f0c9a…
//
// `once/1` is the version of this format. `open` is the store's open count at the commit, `began`
// the offset at which that store began with the partition (`-`: not known), `store` its id, to the
// end of the text. Anything else, other versions included, is not a mark.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace once {

struct StoreMark {
  std::string store_id;  // StoreTraits::id
  std::uint64_t open_count = 0;
  std::optional<std::int64_t> began;  // effects of messages below it are not in this store

  friend bool operator==(const StoreMark&, const StoreMark&) = default;
};

// Empty for a store without an id.
std::string FormatStoreMark(const StoreMark& mark);

// nullopt for every text that FormatStoreMark does not produce.
std::optional<StoreMark> ParseStoreMark(std::string_view metadata);

}  // namespace once
