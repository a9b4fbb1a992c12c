// Revisions and directives.
#include "src/stores/position_rules.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::stores {

TakenPosition AnswerTake(const TakeRequest& request, const std::optional<StoredPosition>& found,
                         std::string other_cluster) {
  TakenPosition taken;
  if (found) {
    taken.previous = found->stamp;
    taken.current = {found->stamp.position, found->stamp.revision + 1, request.writer};
    taken.reach = found->reach;
    taken.last_applied = found->last_applied;
    taken.directive = found->directive;
    return taken;
  }
  taken.other_cluster = std::move(other_cluster);
  taken.exists = request.may_create;
  if (!request.may_create) return taken;
  taken.current = {request.start, 1, request.writer};
  taken.reach = request.start;
  return taken;
}

StoredPosition AfterTake(const TakeRequest& request, const std::optional<StoredPosition>& found,
                         const TakenPosition& taken) {
  StoredPosition row = found.value_or(StoredPosition{.key = request.key, .reach = taken.reach});
  row.stamp = taken.current;
  return row;
}

StoredPosition AfterUpdate(const PositionUpdate& update, const PositionStamp& locked) {
  return {.key = update.key,
          .stamp = {.position = update.position,
                    .revision = locked.revision + 1,
                    .writer = locked.writer},
          .reach = update.reach,
          .last_applied = update.last_applied};
}

absl::Status CheckOrder(std::string_view store_name, const PositionOrder& order) {
  if (order.directive == PositionDirective::kNone) {
    return absl::InvalidArgumentError(
        absl::StrCat(ToAbsl(store_name), ": order position: it orders nothing"));
  }
  if (order.directive == PositionDirective::kSet && order.position < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(ToAbsl(store_name), ": order position: ", order.position, " is below zero"));
  }
  return absl::OkStatus();
}

StoredPosition AfterOrder(const PositionOrder& order, const std::optional<StoredPosition>& found) {
  StoredPosition row = found.value_or(StoredPosition{.key = order.key});
  if (order.directive == PositionDirective::kSet) {
    // The record behind the new position is another one, and nothing beyond it was begun.
    row.stamp.position = order.position;
    row.reach = order.position;
    row.last_applied.reset();
  }
  ++row.stamp.revision;
  row.stamp.writer = order.writer;
  row.directive = order.directive;
  return row;
}

}  // namespace once::stores
