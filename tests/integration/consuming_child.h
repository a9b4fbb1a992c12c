// What the consuming children of tests share: how they begin, how they end, and the main() that is
// both the tests and their child. A child is given `BROKERS GROUP TOPIC STORE …`.
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/integration/child.h"
#include "tests/integration/consumer_group.h"

namespace once::testing {

// Tells the parent that something has moved.
inline void Beat() { [[maybe_unused]] const ssize_t written = write(kProgressPipe, ".", 1); }

// Runs a consumer until it is told to stop, or dies with its parent; the exit code of the child.
// `options` may say more than where messages and ids are.
template <typename Handler>
int ConsumeAsChild(const std::vector<std::string>& words, ConsumerOptions options,
                   Handler handler) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  options.source = Must(kafka::Subscribe({.brokers = words.at(0),
                                          .group = words.at(1),
                                          .topics = {words.at(2)},
                                          .instance_id = "child",
                                          .session_timeout = absl::Seconds(6)}));
  options.store = OpenEffects(words.at(3));
  options.id = HeaderId("order-id");
  options.log = JsonLog(LogLevel::kError);
  const auto consumer = Must(Consumer::Create(std::move(options), std::move(handler)));
  const absl::Status status = RunUntilSignal(*consumer);
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}

// The tests, or `consume` in a Child.
template <typename Consume>
int RunTestsOrChild(int argc, char** argv, Consume consume) {
  if (argc < 2 || std::string_view(argv[1]) != "--consume") {
    ::testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
  }
  try {
    return consume(std::vector<std::string>(argv + 2, argv + argc));
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 2;
  }
}

}  // namespace once::testing
