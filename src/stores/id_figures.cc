// One line per figure.
#include "src/stores/id_figures.h"

#include <cstdint>

namespace once::stores {

void AddIdFigures(const IdLogStats& ids, std::vector<StoreFigure>& figures) {
  const auto add = [&](const char* name, std::uint64_t value) {
    figures.push_back({name, static_cast<std::int64_t>(value)});
  };
  // One that completed again may be counted again.
  add("ids_count", ids.unsealed_ids + ids.run_ids + ids.open_rows);
  add("open_ids_count", ids.open_rows);
  add("recent_ids_count", ids.recent_ids);
  add("recent_ids_bytes", ids.recent_bytes);
  add("unsealed_bytes", ids.unsealed_bytes);
  add("runs_count", ids.runs);
  // With a retention: what holds back the expiry of all that is newer.
  add("undated_ids_count", ids.undated_run_ids);
  add("run_memory_bytes", ids.filter_bytes + ids.index_bytes);
}

}  // namespace once::stores
