// JsonLog: one valid JSON object per line, whatever bytes an event holds.
#include "once/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"

namespace once {
namespace {

using ::testing::SizeIs;

class JsonLogTest : public ::testing::Test {
 protected:
  ~JsonLogTest() override { std::fclose(stream_); }

  std::vector<std::string> Lines() {
    std::string text(1 << 20, '\0');
    std::rewind(stream_);
    text.resize(std::fread(text.data(), 1, text.size(), stream_));
    std::vector<std::string> lines = absl::StrSplit(text, '\n');
    EXPECT_EQ(lines.back(), "") << "the last line is not ended";
    lines.pop_back();
    return lines;
  }
  nlohmann::json OnlyLine() {
    const std::vector<std::string> lines = Lines();
    EXPECT_THAT(lines, SizeIs(1));
    return nlohmann::json::parse(lines.at(0));
  }

  std::FILE* const stream_ = std::tmpfile();
};

TEST_F(JsonLogTest, WritesEcsFields) {
  JsonLog(LogLevel::kInfo, stream_)
      ->Log({.level = LogLevel::kWarning,
             .time = absl::FromUnixMillis(1'700'000'000'250),
             .action = "fenced",
             .message = "somebody else has written the row",
             .fields = {{"once.id", "pay-1"}}});
  const nlohmann::json line = OnlyLine();
  EXPECT_EQ(line["@timestamp"], "2023-11-14T22:13:20.25+00:00");
  EXPECT_EQ(line["log.level"], "warning");
  EXPECT_EQ(line["event.action"], "fenced");
  EXPECT_EQ(line["message"], "somebody else has written the row");
  EXPECT_EQ(line["once.id"], "pay-1");
}

TEST_F(JsonLogTest, EveryEventIsOneLineEvenIfItsTextIsSeveral) {
  const auto log = JsonLog(LogLevel::kDebug, stream_);
  log->Log({.action = "a", .message = "one\ntwo\r\nthree\t\"quoted\" \\"});
  log->Log({.action = "b", .message = ""});
  const std::vector<std::string> lines = Lines();
  ASSERT_THAT(lines, SizeIs(2));
  EXPECT_EQ(nlohmann::json::parse(lines[0])["message"], "one\ntwo\r\nthree\t\"quoted\" \\");
  EXPECT_EQ(nlohmann::json::parse(lines[1])["event.action"], "b");
}

TEST_F(JsonLogTest, BytesThatAreNoTextAreReplacedAndTheLineStaysValid) {
  JsonLog(LogLevel::kInfo, stream_)
      ->Log({.action = "\xff",
             .message = std::string("a\0\xc3(", 4),
             .fields = {{"once.id", "\xed\xa0\x80 id"},
                        {"bad\xff"
                         "name",
                         "x"}}});
  EXPECT_THAT(std::string(OnlyLine()["once.id"]), ::testing::EndsWith(" id"));
}

TEST_F(JsonLogTest, EventsBelowTheLevelAreDropped) {
  const auto log = JsonLog(LogLevel::kWarning, stream_);
  EXPECT_EQ(log->level(), LogLevel::kWarning);
  for (const LogLevel level :
       {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
    log->Log({.level = level, .action = "x"});
  }
  EXPECT_THAT(Lines(), SizeIs(2));
}

TEST_F(JsonLogTest, EveryLevelHasAName) {
  const auto log = JsonLog(LogLevel::kDebug, stream_);
  for (const LogLevel level :
       {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
    log->Log({.level = level, .action = "x"});
  }
  std::vector<std::string> names;
  for (const std::string& line : Lines()) {
    names.push_back(nlohmann::json::parse(line)["log.level"]);
  }
  EXPECT_THAT(names, ::testing::ElementsAre("debug", "info", "warning", "error"));
}

TEST_F(JsonLogTest, TimesWithoutAnEndAreStillValidJson) {
  const auto log = JsonLog(LogLevel::kDebug, stream_);
  log->Log({.time = absl::InfinitePast(), .action = "x"});
  log->Log({.time = absl::InfiniteFuture(), .action = "x"});
  for (const std::string& line : Lines()) {
    EXPECT_TRUE(nlohmann::json::accept(line)) << line;
  }
}

TEST(NoLog, WantsNothingButErrorsAndDropsThemToo) {
  const auto log = NoLog();
  EXPECT_EQ(log->level(), LogLevel::kError);
  log->Log({.level = LogLevel::kError, .action = "x"});
}

}  // namespace
}  // namespace once
