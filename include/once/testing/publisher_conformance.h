// The conformance suite for publishers, ours and yours: every promise of once::Publisher as a test.
//
//   class MyFixture final : public once::testing::PublisherFixture { … };
//   INSTANTIATE_TEST_SUITE_P(MyBroker, PublisherConformance,
//                            ::testing::Values(once::testing::PublisherUnderTest{
//                                .name = "mine",
//                                .make = [] { return std::make_unique<MyFixture>(); }}),
//                            once::testing::PublisherName);
//
// What a publisher cannot do is skipped with the reason it gives, never left out of the suite.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/executor.h"
#include "once/publisher.h"

namespace once::testing {

// A message as the broker has it; `message.partition` is where it lies.
struct StoredMessage {
  std::int64_t offset = 0;
  OutgoingMessage message;
};

// One broker and one publisher, made anew for every test.
class PublisherFixture {
 public:
  virtual ~PublisherFixture() = default;

  // Runs a test's body. A simulator runs it inside its world; the default calls it.
  virtual void Run(const std::function<void()>& body) { body(); }
  virtual Executor& executor() = 0;

  virtual Publisher& publisher() = 0;
  // A topic with nothing in it.
  virtual std::string CreateTopic(std::int32_t partitions) = 0;
  // Everything in the topic, by partition and offset.
  virtual std::vector<StoredMessage> Dump(const std::string& topic) = 0;
  // A publisher whose broker cannot be reached.
  virtual std::unique_ptr<PublisherFixture> Unreachable() { return nullptr; }
  // A value that the broker refuses for its size.
  virtual std::size_t too_large_bytes() { return 2 * 1024 * 1024; }
};

// Empty: the publisher can. Otherwise the reason why it cannot, which the skipped test prints.
struct PublisherCapabilities {
  std::string why_no_size_limit;
  std::string why_no_unknown_topic;  // a topic that does not exist is refused
  std::string why_no_partitions;     // partition numbers, and order per key within one
  std::string why_no_unreachable;    // PublisherFixture::Unreachable()
  std::string why_no_threads;        // Publish() from several threads
};

struct PublisherUnderTest {
  std::string name;
  PublisherCapabilities capabilities = {};
  std::function<std::unique_ptr<PublisherFixture>()> make;
};

// How GoogleTest prints the parameter.
inline void PrintTo(const PublisherUnderTest& subject, std::ostream* out) { *out << subject.name; }

// For the last argument of INSTANTIATE_TEST_SUITE_P.
std::string PublisherName(const ::testing::TestParamInfo<PublisherUnderTest>& info);

// Public, so that a publisher's own tests can start from the same vocabulary.
class PublisherConformance : public ::testing::TestWithParam<PublisherUnderTest> {
 protected:
  PublisherConformance();
  ~PublisherConformance() override;

  PublisherFixture& fixture() { return *fixture_; }
  const PublisherCapabilities& capabilities() const { return GetParam().capabilities; }
  // Publishes with thirty seconds' time.
  std::vector<absl::Status> Publish(const std::vector<OutgoingMessage>& messages);
  static void ExpectAllOk(const std::vector<absl::Status>& outcomes);

 private:
  std::unique_ptr<PublisherFixture> fixture_;
};

}  // namespace once::testing

// Test suites are named without their namespace in INSTANTIATE_TEST_SUITE_P.
using PublisherConformance = once::testing::PublisherConformance;
