// The names of the store's keys: from an id to its key, and from any key to what it is.
// Pure; safe for concurrent use.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "once/message_id.h"

namespace once::redis {

inline constexpr std::string_view kWitnessTag = "witness";

class KeyNames {
 public:
  // `store_tag` is what is in the braces of the store's own keys, and places them in a cluster.
  explicit KeyNames(std::string prefix, std::string store_tag = "store")
      : prefix_(std::move(prefix)), store_tag_(std::move(store_tag)) {}

  // The id's hash. What is in its braces places it in a cluster.
  std::string OfId(const IdKey& key) const;
  std::string OfStore() const { return prefix_ + "{" + store_tag_ + "}"; }
  // A set: the scopes that ids were claimed under.
  std::string OfScopes() const { return OfStore() + ":scopes"; }
  // `tag` is kWitnessTag, or what TagWithin() makes of it: it says in which slot the witness lies.
  std::string OfWitness(std::string_view tag, std::uint64_t incarnation) const;

  // For SCAN: all of the above, and nothing of a store with another prefix.
  std::string Pattern() const;
  // All keys of ids that end in `id`: those of that id under any scope are among them.
  std::string PatternOfId(std::string_view id) const;

  enum class Kind : std::uint8_t { kForeign, kStore, kScopes, kWitness, kId };
  struct Meaning {
    Kind kind = Kind::kForeign;
    IdKey id = {};  // kId only; views into the key
  };
  Meaning Read(std::string_view key) const;

 private:
  const std::string prefix_;
  const std::string store_tag_;
};

}  // namespace once::redis
