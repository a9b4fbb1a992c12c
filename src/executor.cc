// style: seam - this file is the production end of the seams
// The production seams: threads, condition variables, the system clock and the system's entropy.
#include "once/executor.h"

#include <pthread.h>

#include <condition_variable>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "absl/time/clock.h"

namespace once {
namespace {

class SystemEvent : public Event {
 public:
  void Set() override {
    {
      const std::lock_guard lock(mutex_);
      is_set_ = true;
    }
    changed_.notify_one();
  }

  bool WaitUntil(absl::Time deadline) override {
    std::unique_lock lock(mutex_);
    const auto is_set = [this] { return is_set_; };
    if (deadline == absl::InfiniteFuture()) {
      changed_.wait(lock, is_set);
    } else {
      changed_.wait_until(lock, absl::ToChronoTime(deadline), is_set);
    }
    return std::exchange(is_set_, false);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_set_ = false;
};

class SystemTask : public Task {
 public:
  SystemTask(std::string name, std::function<void()> body)
      : thread_([name = std::move(name), body = std::move(body)] {
          pthread_setname_np(pthread_self(), name.c_str());
          body();
        }) {}
  ~SystemTask() override { thread_.join(); }

 private:
  std::thread thread_;
};

// Linux refuses longer thread names.
constexpr std::size_t kThreadNameMax = 15;

class ThreadExecutor : public Executor {
 public:
  absl::Time Now() override { return absl::Now(); }
  std::unique_ptr<Event> NewEvent() override { return std::make_unique<SystemEvent>(); }
  std::unique_ptr<Task> Spawn(std::string_view name, std::function<void()> body) override {
    return std::make_unique<SystemTask>(std::string(name.substr(0, kThreadNameMax)),
                                        std::move(body));
  }
};

class EntropyRandom : public Random {
 public:
  EntropyRandom() {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    engine_.seed(seed);
  }
  std::uint64_t Next() override {
    const std::lock_guard lock(mutex_);
    return engine_();
  }

 private:
  std::mutex mutex_;
  std::mt19937_64 engine_;
};

}  // namespace

std::shared_ptr<Executor> SystemExecutor() { return std::make_shared<ThreadExecutor>(); }

std::shared_ptr<Random> SystemRandom() { return std::make_shared<EntropyRandom>(); }

}  // namespace once
