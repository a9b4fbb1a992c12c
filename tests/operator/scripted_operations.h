// StoreOperations that answer what a test put in, and remember what they were asked.
#pragma once

#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "once/operations.h"

namespace once::testing {

class ScriptedOperations : public StoreOperations {
 public:
  // What the calls answer; set them before the server starts.
  std::vector<StoredPosition> positions;
  std::vector<StoredFailure> failures;  // ascending numbers
  std::vector<FoundId> ids;
  std::vector<StoredNote> notes;  // ascending keys
  absl::Status changed;           // of every change
  absl::Status listed;            // of FindFailures

  // What came.
  std::vector<PositionOrder> orders;
  std::vector<RedriveRequest> redrives;
  std::vector<std::pair<std::string, std::string>> discards;  // scope, id
  std::vector<std::pair<std::string, std::string>> resolves;
  std::vector<std::int64_t> dropped;

  absl::StatusOr<std::vector<StoredPosition>> ListPositions() override { return positions; }

  absl::Status OrderPosition(const PositionOrder& order) override {
    orders.push_back(order);
    return changed;
  }

  absl::StatusOr<std::vector<StoredFailure>> FindFailures(const FailureQuery& query) override {
    if (!listed.ok()) return listed;
    std::vector<StoredFailure> found;
    for (const StoredFailure& failure : failures) {
      const bool is_meant = failure.number > query.after &&
                            (!query.id || *query.id == failure.id) &&
                            (!query.scope || *query.scope == failure.scope);
      if (is_meant && found.size() < query.letters_max) found.push_back(failure);
    }
    return found;
  }

  absl::StatusOr<std::vector<FoundId>> FindId(const std::string& id) override {
    asked_ids.push_back(id);
    return ids;
  }

  absl::StatusOr<std::vector<StoredNote>> ListNotes(const NoteQuery& query) override {
    if (!listed.ok()) return listed;
    std::vector<StoredNote> found;
    for (const StoredNote& note : notes) {
      const bool is_meant = note.key.starts_with(query.prefix) && note.key > query.after;
      if (is_meant && found.size() < query.notes_max) found.push_back(note);
    }
    return found;
  }

  absl::Status Redrive(const RedriveRequest& request) override {
    redrives.push_back(request);
    return changed;
  }
  absl::Status Discard(const IdKey& key) override {
    discards.emplace_back(key.scope, key.id);
    return changed;
  }
  absl::Status Resolve(const IdKey& key) override {
    resolves.emplace_back(key.scope, key.id);
    return changed;
  }
  absl::Status DropLetter(std::int64_t number) override {
    dropped.push_back(number);
    return changed;
  }

  std::vector<std::string> asked_ids;
};

// Every byte there is.
inline std::string AllBytes() {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) bytes.push_back(static_cast<char>(byte));
  return bytes;
}

inline PartitionKey KeyOf(const std::string& topic, std::int32_t partition) {
  return {.cluster = "cluster-1", .group = "billing", .partition = {topic, partition}};
}

// A letter with everything that is hard to carry.
inline StoredFailure FailureOf(std::int64_t number, const std::string& id) {
  return {
      .number = number,
      .origin = {.key = KeyOf("orders", 3), .offset = number * 10, .timestamp_ms = 1'700},
      .scope = GroupTopicScope("billing", "orders"),
      .id = id,
      .state = IdState::kDead,
      .is_published = true,
      .parked_reason = "",
      .redrives = 0,
      .letter = {.topic = "orders.billing.dlq",
                 .partition = std::nullopt,
                 .key = AllBytes(),
                 .value = "account 4711",
                 .headers = {{.name = "trace", .value = "t-1"},
                             {.name = "empty", .value = ""},
                             {.name = "null", .value = std::nullopt},
                             {.name = "once-disposition", .value = "rejected"},
                             {.name = "once-attempt", .value = "2"},
                             {.name = "once-error-code", .value = "NOT_FOUND"},
                             {.name = "once-error-message", .value = "no such account"},
                             {.name = "once-last-failed-at", .value = "2026-11-21T09:00:00Z"}}}};
}

}  // namespace once::testing
