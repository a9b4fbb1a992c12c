// PRAGMA secure_delete, off and back.
#include "adapters/sqlite/leaving_bytes.h"

#include "adapters/sqlite/statement.h"

namespace once::sqlite {
namespace {

// Without it, removing takes longer: nobody need know.
void Set(sqlite3* connection, const char* sql) {
  Execute(connection, sql, "set secure_delete").IgnoreError();
}

}  // namespace

LeavingBytes::LeavingBytes(sqlite3* connection) : connection_(connection) {
  const auto former = QueryText(connection, "PRAGMA main.secure_delete", "read secure_delete");
  if (former.ok()) former_ = former->value_or("");
  if (former_ == "1" || former_ == "2") Set(connection_, "PRAGMA main.secure_delete = 0");
}

LeavingBytes::~LeavingBytes() {
  if (former_ == "1") Set(connection_, "PRAGMA main.secure_delete = 1");
  if (former_ == "2") Set(connection_, "PRAGMA main.secure_delete = FAST");
}

}  // namespace once::sqlite
