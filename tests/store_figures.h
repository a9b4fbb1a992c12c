// A store's figures by name, for tests; each name must be there once.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "once/maintenance.h"

namespace once::testing {

inline std::map<std::string, std::int64_t> FiguresOf(StoreMaintenance& maintenance) {
  const auto figures = maintenance.ReadFigures();
  EXPECT_TRUE(figures.ok()) << figures.status();
  std::map<std::string, std::int64_t> map;
  if (!figures.ok()) return map;
  for (const StoreFigure& figure : *figures) map[figure.name] = figure.value;
  EXPECT_EQ(map.size(), figures->size()) << "a name is there twice";
  return map;
}

}  // namespace once::testing
