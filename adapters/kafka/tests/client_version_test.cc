// Which librdkafka these tests speak of: all versions share one soname, so that a program can be
// linked with one and run with another.
#include <librdkafka/rdkafka.h>

#include <cstdlib>
#include <iostream>
#include <string_view>

#include <gtest/gtest.h>

namespace once::kafka {
namespace {

TEST(ClientVersion, IsTheOneThatWasCompiledAgainstAndAskedFor) {
  const std::string_view version = rd_kafka_version_str();
  std::cout << "librdkafka " << version << "\n";
  EXPECT_EQ(rd_kafka_version(), RD_KAFKA_VERSION);
  // Set by `./dev test --librdkafka`.
  if (const char* wanted = std::getenv("ONCE_TEST_LIBRDKAFKA"); wanted != nullptr) {
    EXPECT_TRUE(version.starts_with(wanted)) << "wanted " << wanted;
  }
}

}  // namespace
}  // namespace once::kafka
