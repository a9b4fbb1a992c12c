// The conformance suite for record clients, ours and yours: every promise of once::RecordClient as
// a test.
//
//   class MyFixture final : public once::testing::RecordClientFixture { … };
//   INSTANTIATE_TEST_SUITE_P(MyBroker, RecordClientConformance,
//                            ::testing::Values(once::testing::RecordClientUnderTest{
//                                .name = "mine",
//                                .make = [] { return std::make_unique<MyFixture>(); }}),
//                            once::testing::RecordClientName);
//
// What a client or its broker cannot do is skipped with the reason it gives, never left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/executor.h"
#include "once/record_client.h"
#include "once/testing/publisher_conformance.h"

namespace once::testing {

// One broker, made anew for every test.
class RecordClientFixture {
 public:
  virtual ~RecordClientFixture() = default;

  // Runs a test's body. A simulator runs it inside its world; the default calls it.
  virtual void Run(const std::function<void()>& body) { body(); }
  virtual Executor& executor() = 0;

  virtual std::unique_ptr<RecordClient> Open(const RecordClientOptions& options) = 0;
  // A topic with nothing in it.
  virtual std::string CreateTopic(std::int32_t partitions) = 0;
  // Everything in the topic, by partition and offset.
  virtual std::vector<StoredMessage> Dump(const std::string& topic) = 0;
  // A client whose queue takes `records_max()` records at most and whose broker cannot be reached.
  virtual std::unique_ptr<RecordClient> OpenUnreachable(const RecordClientOptions& options) = 0;
  virtual std::size_t records_max() = 0;
  // A value that the client or the broker refuses for its size.
  virtual std::size_t too_large_bytes() { return 2 * 1024 * 1024; }
  // One of the next records breaks this client.
  virtual void BreakNext(RecordClient& client) = 0;
};

// Empty: the client can. Otherwise the reason why it cannot, which the skipped test prints.
struct RecordClientCapabilities {
  std::string why_no_dump;           // RecordClientFixture::Dump()
  std::string why_no_unknown_topic;  // a topic that does not exist is refused
  std::string why_no_break;          // RecordClientFixture::BreakNext()
};

struct RecordClientUnderTest {
  std::string name;
  RecordClientCapabilities capabilities = {};
  std::function<std::unique_ptr<RecordClientFixture>()> make;
};

// How GoogleTest prints the parameter.
inline void PrintTo(const RecordClientUnderTest& subject, std::ostream* out) {
  *out << subject.name;
}

// For the last argument of INSTANTIATE_TEST_SUITE_P.
std::string RecordClientName(const ::testing::TestParamInfo<RecordClientUnderTest>& info);

// Records that were sent and what became of them. Public, so that a client's own tests can start
// from the same vocabulary.
class RecordBook {
 public:
  RecordBook(RecordClient& client, Executor& executor) : client_(client), executor_(executor) {}

  struct Entry {
    OutgoingMessage message;
    std::int32_t partition = 0;
    int reports = 0;
    absl::Status status = absl::UnknownError("no report");
    std::int64_t offset = -1;
    std::optional<OutgoingMessage> returned = std::nullopt;
  };

  // What TrySend said; a record that was refused has no entry.
  absl::Status Send(OutgoingMessage message, std::int32_t partition, std::string_view stamp = {});
  // The same for a record that is copied, whose bytes are others once this returns.
  absl::Status SendCopied(const OutgoingMessage& message, std::int32_t partition,
                          std::string_view stamp = {});
  // Polls until every record has its report, at most for `wait`.
  void Await(absl::Duration wait = absl::Seconds(30));
  void ExpectAllOk() const;
  const std::deque<Entry>& entries() const { return entries_; }

 private:
  RecordClient& client_;
  Executor& executor_;
  std::deque<Entry> entries_;  // where values and cookies point to
};

class RecordClientConformance : public ::testing::TestWithParam<RecordClientUnderTest> {
 protected:
  RecordClientConformance();
  ~RecordClientConformance() override;

  RecordClientFixture& fixture() { return *fixture_; }
  const RecordClientCapabilities& capabilities() const { return GetParam().capabilities; }
  static OutgoingMessage MessageTo(const std::string& topic, std::optional<std::string> key,
                                   std::optional<std::string> value);

 private:
  std::unique_ptr<RecordClientFixture> fixture_;
};

}  // namespace once::testing

// Test suites are named without their namespace in INSTANTIATE_TEST_SUITE_P.
using RecordClientConformance = once::testing::RecordClientConformance;
