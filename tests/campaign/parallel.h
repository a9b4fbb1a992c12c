// Runs independent attacks side by side: most of their time is waiting for a broker.
#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace once::campaign {

// Calls work(0) … work(count - 1) from `workers` threads; rethrows the first exception, once all
// threads have ended.
inline void ForEachInParallel(std::size_t count, std::size_t workers,
                              const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr error;
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < workers; ++i) {
      threads.emplace_back([&] {
        for (std::size_t at = next++; at < count; at = next++) {
          try {
            work(at);
          } catch (...) {
            const std::lock_guard lock(mutex);
            if (!error) error = std::current_exception();
            next = count;
          }
        }
      });
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace once::campaign
