// The metadata of committed offsets: read back as written, and nothing else is taken for it.
#include "src/store_mark.h"

#include <limits>
#include <string>

#include "gtest/gtest.h"

namespace once {
namespace {

TEST(StoreMark, IsReadBackAsItWasWritten) {
  for (const StoreMark& mark :
       {StoreMark{.store_id = "5f0c9a", .open_count = 12, .began = 400},
        StoreMark{.store_id = "5f0c9a", .open_count = 1, .began = std::nullopt},
        StoreMark{.store_id = "an id with spaces, store=x began=-",
        .open_count = std::numeric_limits<std::uint64_t>::max(),
        .began = std::numeric_limits<std::int64_t>::max()},
        StoreMark{.store_id = std::string(64, '~'), .open_count = 0, .began = 0}}) {
    EXPECT_EQ(ParseStoreMark(FormatStoreMark(mark)), mark) << FormatStoreMark(mark);
  }
}

TEST(StoreMark, LooksLikeThis) {
  EXPECT_EQ(FormatStoreMark({.store_id = "5f0c9a", .open_count = 12, .began = 400}),
            "once/1 open=12 began=400 store=5f0c9a");
  EXPECT_EQ(FormatStoreMark({.store_id = "5f0c9a", .open_count = 12}),
            "once/1 open=12 began=- store=5f0c9a");
}

TEST(StoreMark, AStoreWithoutAnIdLeavesNone) {
  EXPECT_EQ(FormatStoreMark({.store_id = "", .open_count = 12, .began = 400}), "");
}

class ForeignMetadata : public ::testing::TestWithParam<std::string> {};

TEST_P(ForeignMetadata, IsNoMark) { EXPECT_EQ(ParseStoreMark(GetParam()), std::nullopt); }

INSTANTIATE_TEST_SUITE_P(
    StoreMark, ForeignMetadata,
    ::testing::Values(
        "", "once", "once/1", "reset by kafka-consumer-groups", "{\"v\":1}",
        "once/2 open=12 began=400 store=5f0c9a",   // a later version
        "once/1 open=12 began=400 store=",         // no id
        "once/1 open=12 began=400",                // cut
        "once/1 open= began=400 store=5f0c9a",     // no number
        "once/1 open=012 began=400 store=5f0c9a",  // not as it is written here
        "once/1 open=-1 began=400 store=5f0c9a", "once/1 open=12 began=-4 store=5f0c9a",
        "once/1 open=12 began=4x store=5f0c9a", "once/1  open=12 began=400 store=5f0c9a",
        "once/1 open=99999999999999999999 began=400 store=5f0c9a",
        "once/1 open=12 began=99999999999999999999 store=5f0c9a",
        " once/1 open=12 began=400 store=5f0c9a", "once/1 open=12 began=400 store=5f0c9a\n",
        "once/1 open=12 began=400 store=caf\xc3\xa9",
        "once/1 open=12 began=400 store=" + std::string(65, 'x')));

}  // namespace
}  // namespace once
