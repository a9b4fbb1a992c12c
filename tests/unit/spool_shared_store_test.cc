// A spool is this machine's own: a store that others use too is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "once/memory/store.h"
#include "once/spool.h"
#include "tests/forwarding_seams.h"

namespace once {
namespace {

class SharedStore final : public testing::ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;
  StoreTraits traits() const override {
    StoreTraits traits = ForwardingStore::traits();
    traits.is_shared = true;
    return traits;
  }
};

TEST(SpoolStoreKind, AStoreThatProcessesShareIsRefused) {
  const auto refused =
      OpenSpool({.store = std::make_shared<SharedStore>(memory::OpenStore({}))}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()), ::testing::HasSubstr("is shared"));
}

}  // namespace
}  // namespace once
