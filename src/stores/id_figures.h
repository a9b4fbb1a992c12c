// What a store on the log of ids tells operators of them.
// Pure.
#pragma once

#include <vector>

#include "once/maintenance.h"
#include "src/stores/id_log/id_log.h"

namespace once::stores {

void AddIdFigures(const IdLogStats& ids, std::vector<StoreFigure>& figures);

}  // namespace once::stores
