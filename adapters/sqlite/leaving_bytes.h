// While a LeavingBytes lives, rows that its connection removes leave their bytes where they were.
// Some builds of SQLite overwrite them with zeros, so that every page that becomes free is written
// once more; and of ids that are removed here, each byte lies in a run, or went by age.
// Thread-safety: as the connection.
#pragma once

#include <sqlite3.h>

#include <string>

namespace once::sqlite {

class LeavingBytes {
 public:
  explicit LeavingBytes(sqlite3* connection);
  ~LeavingBytes();
  LeavingBytes(const LeavingBytes&) = delete;
  LeavingBytes& operator=(const LeavingBytes&) = delete;

 private:
  sqlite3* const connection_;
  std::string former_;  // as the pragma gives it: 0 off, 1 on, 2 fast
};

}  // namespace once::sqlite
