// The store's ids, through its own transactions.
#include "tests/campaign/truth.h"

#include <stdexcept>

#include "tests/integration/consumer_group.h"

namespace once::campaign {

using testing::Must;

std::unordered_map<std::string, IdState> ReadIds(DedupStore& store, const std::string& scope,
                                                 const std::vector<Delivery>& deliveries) {
  std::unordered_map<std::string, IdState> ids;
  for (const Delivery& delivery : deliveries) {
    if (!delivery.id.empty()) ids.emplace(delivery.id, IdState::kAbsent);
  }
  std::vector<IdKey> keys;
  for (const auto& [id, state] : ids) keys.push_back({.scope = scope, .id = id});
  std::vector<IdRecord> records(keys.size());
  const BeginResult begun = Must(store.transactions()->Begin({}));
  const absl::Status found = begun.transaction->FindIds(keys, records);
  begun.transaction->Rollback();
  if (!found.ok()) throw std::runtime_error(found.ToString());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    ids[std::string(keys[i].id)] = records[i].state;
  }
  return ids;
}

}  // namespace once::campaign
