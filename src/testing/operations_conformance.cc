// The public suite for operations: the list of its tests.
#include "once/testing/operations_conformance.h"

#include "src/testing/store_words.h"

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StoreOperationsConformance);

namespace once::testing {

bool LinkOperationsSuite() { return true; }

std::vector<StoreCheck> OperationsChecks() { return {}; }

}  // namespace once::testing
