// Every statement of the store, for one schema. Thread-safety: constant after construction.
#pragma once

#include <cstdint>
#include <vector>

#include "adapters/postgres/session.h"
#include "once/postgres/store.h"

namespace once::postgres {

// What is to be kept whatever its age moves to this one, which is never dropped.
inline constexpr std::int64_t kPermanentBucket = 0;

struct Statements {
  explicit Statements(const StoreOptions& options);

  Statement begin, commit, rollback;
  // Whose statements come next in this transaction: they wait for locks so long.
  Statement wait_as_store, wait_as_handler;
  Statement wait_to_publish;  // for the orders of keys; as a handler's statement waits
  Statement hurry;            // an operator's transaction is ended soon where nothing more is asked
  // Outside any transaction: what a handler may have left on its session goes.
  std::vector<Statement> cleaning;
  Statement set_savepoint, release_savepoint, rollback_to_savepoint;
  Statement write_unsynced;  // this transaction's commit need not wait for the disk …
  Statement write_synced;    // … and must, whatever the role or a handler has set; can it?
  Statement read_clock;      // microseconds since 1970; whether any letter is kept

  // Of partitions: parameters 1 to 4 are the columns of the keys.
  Statement lock_positions, read_positions, find_other_clusters, put_positions, list_positions;
  Statement end_hung_owners;

  // Of ids: parameters 1 and 2 are the columns scope and id.
  // Which bucket is the current one, and which there are, is settled until the transaction ends.
  // Goes before everything that looks for an id, in every transaction that may write one.
  Statement share_ids;
  Statement hold_ids;  // until the transaction ends, also those that are not there
  Statement find_ids, lock_ids, add_completed_ids, add_ids, put_ids, forget_ids, find_everywhere;
  Statement find_scopes, add_scopes, check_scopes;

  // Of buckets of ids, and of who looks after them.
  Statement try_upkeep, release_upkeep, exclude_ids, rest;
  Statement count_buckets, look_at_buckets, date_bucket, close_bucket, find_expired_bucket,
      note_permanent_bucket, forget_bucket;
  Statement count_bucket_pages;
  // Of a range of pages of one bucket: parameters are the bucket, the first page and the end, and
  // how many rows are to be moved at most.
  Statement find_outliving, move_outliving;

  // For operators; verify_ids is of a range of pages, as those above.
  Statement measure_buckets, measure_rest, list_scopes, list_buckets;
  Statement verify_buckets, verify_ids, verify_letters;
  // Of the process whose sessions have the name of parameter 1.
  Statement put_upkeep_error, drop_upkeep_error, list_upkeep_errors;

  Statement put_outgoing, hold_letter, publish_letter, void_letters, drop_letter, lock_letter,
      find_letter, last_redrive, find_failures;
  Statement find_pending, count_pending, mark_published, park;
  Statement try_relay, release_relay;
  Statement find_notes, put_notes, forget_notes, list_notes;

  // Of outgoing messages, and of relays that share the lanes they lie in.
  Statement put_outgoing_rows;
  std::vector<Statement> plan_for_relay;
  Statement join_relays, leave_relays, survey_lanes, take_lanes, own_lanes, give_up_lanes;
  Statement check_numbers;
  Statement hold_epoch, find_epoch;
  Statement look_at_lanes, advance_lanes, hold_lane, touch_lane;
  Statement read_facts, next_transaction, put_facts, forget_facts;
  Statement put_streams, list_streams, close_epoch, put_voids, drop_voids, list_voids;
  Statement find_behind, find_small_behind, find_numbered, find_in_holes, find_orders,
      drop_outgoing_rows;
  Statement list_parked_rows, count_outgoing_rows;
  Statement list_outgoing_rows, list_discarded_rows, measure_outgoing_rows;

  Statement count_word, read_words, put_opening, sync_words;
};

}  // namespace once::postgres
