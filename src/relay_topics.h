// RelayTopics knows how many partitions each topic has that a relay meets, and of which topics rows
// must be held back for now: nobody says anything of them, or they are missing for so short a time
// that the brokers may only not have heard of them all yet. Trouble with one topic costs a turn a
// bounded wait, and is asked about again less and less often.
//
// What it has said of a topic it says for the rest of the turn: of one topic no later row may pass
// an earlier one.
// Thread-safety: none of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/executor.h"
#include "once/record_client.h"

namespace once {

class RelayTopics {
 public:
  // `missing_grace`: OutboxRelayOptions::missing_topic_grace.
  RelayTopics(Executor& executor, absl::Duration missing_grace)
      : executor_(executor), missing_grace_(missing_grace) {}

  // Asks again for the topics whose rows are held back, if it is time. `client` null: not now.
  void BeginTurn(RecordClient* client);
  // kInvalidArgument: there is no such topic, and has not been for all of the grace; any other
  // error: rows of it are held back in this turn.
  absl::StatusOr<std::int32_t> CountPartitions(RecordClient& client, const std::string& topic);

  // Topics that are held back since the turn began.
  const std::vector<std::string>& passed() const { return passed_; }
  // Topics that are held back now: more, if some were found in this turn.
  std::size_t CountHeld() const;
  // When one of them is asked for again; in the far future: none is held back.
  absl::Time next_ask() const;
  // OK; else why rows of some topic are held back.
  const absl::Status& trouble() const { return trouble_; }

 private:
  // A topic that was not to be had when it was asked for last.
  struct Hold {
    bool is_on = false;  // its rows are held back; false: they are refused
    absl::Time missing_since = absl::InfiniteFuture();  // … not missing: nobody answered
    absl::Time silent_since = absl::InfiniteFuture();
    absl::Time asked_at = absl::InfinitePast();
    absl::Time ask_again = absl::InfinitePast();
    absl::Duration pause = absl::ZeroDuration();
    absl::Status why = absl::OkStatus();
  };

  absl::StatusOr<std::int32_t> Ask(RecordClient& client, const std::string& topic);
  absl::Status HoldMissing(const std::string& topic, const absl::Status& why);
  absl::Status HoldSilent(const std::string& topic, const absl::Status& why);
  absl::Status Keep(const std::string& topic, Hold hold);

  Executor& executor_;
  const absl::Duration missing_grace_;
  std::map<std::string, Hold> holds_;
  absl::Time answered_at_ = absl::InfinitePast();  // of any topic

  // Of this turn.
  absl::flat_hash_map<std::string, absl::StatusOr<std::int32_t>> counts_;
  std::vector<std::string> passed_;
  absl::Status trouble_;
  bool has_waited_ = false;
};

}  // namespace once
