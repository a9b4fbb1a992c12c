// How a position row changes when an owner takes it, when a commit moves it, and when an operator
// orders it. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "once/operations.h"
#include "once/position.h"

namespace once::stores {

// What Take() answers where the row is `found`. `other_cluster`: see TakenPosition; of a row that
// is not there.
TakenPosition AnswerTake(const TakeRequest& request, const std::optional<StoredPosition>& found,
                         std::string other_cluster);

// The row after that. REQUIRES: taken.exists.
StoredPosition AfterTake(const TakeRequest& request, const std::optional<StoredPosition>& found,
                         const TakenPosition& taken);

// The row after a commit's `update` of a row that was locked as `locked`.
StoredPosition AfterUpdate(const PositionUpdate& update, const PositionStamp& locked);

// OK where `order` orders something that can be. `store_name` is for the message.
absl::Status CheckOrder(std::string_view store_name, const PositionOrder& order);
StoredPosition AfterOrder(const PositionOrder& order, const std::optional<StoredPosition>& found);

}  // namespace once::stores
