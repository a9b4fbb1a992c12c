// The SQL of the store, prepared once per connection. Every table is named with its schema: a
// handler's TEMP table must not stand in front of it.
// Thread-safety: as the connection they belong to.
#pragma once

#include <sqlite3.h>

#include <string>

#include "absl/status/status.h"
#include "adapters/sqlite/statement.h"

namespace once::sqlite {

struct WriterStatements {
  Statement begin, commit, rollback;
  Statement savepoint, release_savepoint, rollback_to_savepoint;
  Statement find_scope, add_scope;
  Statement settle;
  Statement find_result, put_result, drop_result;
  Statement find_position, find_other_cluster, add_position, take_position, set_position;
  Statement put_position;
  Statement put_outgoing, mark_published, park;
  Statement find_note, put_note, forget_note;
  Statement publish, drop_outgoing, put_outgoing_fact, forget_outgoing_fact;
  Statement hold_letter, publish_letter, void_letters, drop_letter, find_letter, last_redrive;

  // `path` is for error messages.
  absl::Status Prepare(sqlite3* connection, const std::string& path);
};

struct ReaderStatements {
  Statement find_position, list_positions;
  Statement find_pending, count_pending;
  Statement find_failures;
  Statement list_notes;
  Statement find_outgoing, read_outgoing, last_outgoing, list_outgoing_facts;
  Statement measure_outgoing;

  absl::Status Prepare(sqlite3* connection, const std::string& path);
};

}  // namespace once::sqlite
