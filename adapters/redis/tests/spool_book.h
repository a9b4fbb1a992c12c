// Spools in Redis whose broker is a book, and what must stand in it in the end.
// Thread-safety: each function that of what it is given.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/statusor.h"
#include "once/redis/spool.h"
#include "once/spool.h"
#include "tests/telling_client.h"

namespace once::redis::testing {

struct Arrival {
  std::string key;
  int value = 0;
  std::string stamp;
};

// What was sent, in its order, and what had its outcome.
struct Book {
  std::vector<Arrival> arrivals;
  std::set<int> spooled;
};

// Told of every record that is sent.
using Tell = once::testing::TellingClient::Tell;

inline absl::StatusOr<std::unique_ptr<Producer>> OpenTelling(const SpoolLogOptions& place,
                                                             Tell tell) {
  auto log = OpenSpoolLog(place);
  if (!log.ok()) return log.status();
  return OpenSpool({.log = *log,
                    .producer = {.clients = [tell](const RecordClientOptions&)
                                     -> absl::StatusOr<std::unique_ptr<RecordClient>> {
                      return std::make_unique<once::testing::TellingClient>(tell);
                    }}});
}

inline void AwaitEmpty(OutgoingLog& log) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (true) {
    const auto counts = log.Count();
    ASSERT_TRUE(counts.ok()) << counts.status();
    if (counts->waiting == 0) return;
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << counts->waiting << " wait";
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

// Everything that had its outcome was published; of each key in the order of its values, but for
// copies, which have the number of the first one.
inline void ExpectAllInOrder(const Book& book) {
  std::map<int, std::string> stamps;
  std::map<std::string, int> last;
  std::set<int> published;
  for (const Arrival& arrival : book.arrivals) {
    const auto [known, is_new] = stamps.try_emplace(arrival.value, arrival.stamp);
    EXPECT_EQ(known->second, arrival.stamp) << "a copy has another number: " << arrival.value;
    if (!is_new) continue;
    const auto [before, is_first] = last.try_emplace(arrival.key, -1);
    EXPECT_LT(before->second, arrival.value) << "out of order: " << arrival.key;
    before->second = arrival.value;
    published.insert(arrival.value);
  }
  for (const int value : book.spooled) {
    EXPECT_TRUE(published.contains(value)) << "lost: " << value;
  }
}

}  // namespace once::redis::testing
