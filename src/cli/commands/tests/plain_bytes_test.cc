// What is shown of bytes names exactly these bytes, and does nothing to a terminal.
#include "src/cli/commands/plain_bytes.h"

#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "once/message_id.h"

namespace once::cli {
namespace {

TEST(PlainBytes, TextIsShownAsItIs) {
  for (const char* text : {"order-7", "Zahlung für Köln", "注文 7", ""}) {
    EXPECT_EQ(ShowBytes(text), text);
    EXPECT_EQ(ReadBytes(text), text);
  }
}

TEST(PlainBytes, WhatIsNoHarmlessTextIsShownInHexadecimal) {
  EXPECT_EQ(ShowBytes(std::string("\0\x01", 2)), "hex:0001");
  EXPECT_EQ(ShowBytes("a\nb"), "hex:610a62");
  EXPECT_EQ(ShowBytes("\x1b[2J"), "hex:1b5b324a") << "an escape sequence";
  EXPECT_EQ(ShowBytes("\xc2\x9b"), "hex:c29b") << "the same as one control character";
  EXPECT_EQ(ShowBytes("\xe2\x80\xae"), "hex:e280ae") << "turns the direction of writing";
  EXPECT_EQ(ShowBytes("\xc0\xaf"), "hex:c0af") << "overlong";
  EXPECT_EQ(ShowBytes("\xed\xa0\x80"), "hex:eda080") << "a surrogate";
  EXPECT_EQ(ShowBytes("\xf4\x90\x80\x80"), "hex:f4908080") << "beyond the last code point";
  EXPECT_EQ(ShowBytes("\xe2\x82"), "hex:e282") << "cut off";
}

TEST(PlainBytes, WhatIsShownIsReadBackWhateverItIs) {
  std::mt19937 random(3);
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = round % 2 == 0 ? "" : "hex:";
    for (auto left = random() % 12; left > 0; --left) bytes.push_back(static_cast<char>(random()));
    const std::string shown = ShowBytes(bytes);
    EXPECT_TRUE(IsHarmlessText(shown)) << shown;
    EXPECT_EQ(ReadBytes(shown), bytes) << shown;
  }
}

TEST(PlainBytes, WrongHexadecimalIsRefused) {
  EXPECT_EQ(ReadBytes("hex:0"), std::nullopt);
  EXPECT_EQ(ReadBytes("hex:zz"), std::nullopt);
  EXPECT_EQ(ReadBytes("hex:6A6b"), "jk");
}

TEST(PlainBytes, ASentenceStaysOnItsLine) {
  EXPECT_EQ(ShowSentence("für alle"), "für alle");
  EXPECT_EQ(ShowSentence("one\ntwo\x1b[2J für\xff"), "one\\ntwo\\x1b[2J für\\xff");
}

TEST(PlainBytes, ADefaultScopeIsShownInWordsAndFoundByThem) {
  const std::string scope = GroupTopicScope("billing", "orders");
  EXPECT_EQ(ShowScope(scope), "group billing, topic orders");
  for (const char* name : {"group billing, topic orders", "billing/orders", "g7:billing/orders",
                           "hex:67373a62696c6c696e672f6f7264657273"}) {
    EXPECT_TRUE(IsNameOfScope(name, scope)) << name;
  }
  EXPECT_FALSE(IsNameOfScope("orders", scope));
  EXPECT_FALSE(IsNameOfScope("", scope));
}

TEST(PlainBytes, ANamedScopeIsNeverTakenForADefaultOne) {
  const std::string named = NamedScope("billing/orders");
  EXPECT_EQ(ShowScope(named), "scope billing/orders");
  EXPECT_TRUE(IsNameOfScope("billing/orders", named));
  EXPECT_NE(ShowScope(named), ShowScope(GroupTopicScope("billing", "orders")));
}

TEST(PlainBytes, AScopeOfOddNamesIsStillShownHarmlessly) {
  for (const std::string& scope :
       {GroupTopicScope("a\nb", "t/\xff"), NamedScope("\x1b[2J"), std::string("\0", 1),
        std::string("g99999999999999999999:x"), std::string("g7:a/b")}) {
    EXPECT_TRUE(IsHarmlessText(ShowScope(scope))) << ShowScope(scope);
    EXPECT_TRUE(IsNameOfScope(ShowScope(scope), scope)) << ShowScope(scope);
  }
}

}  // namespace
}  // namespace once::cli
