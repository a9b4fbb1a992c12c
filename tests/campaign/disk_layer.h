// The methods that SQLite calls, over those of the system's own file layer.
#pragma once

#include <sqlite3.h>

namespace once::campaign {

class Disk;

// REQUIRES: `real` and `disk` outlive every file that is opened through the result.
sqlite3_vfs LayerOver(const sqlite3_vfs& real, Disk& disk);

}  // namespace once::campaign
