// A fibre as a thread of its own. Whoever has the baton runs; everybody else waits for it, so there
// is one runner at any time and no race.
#include <cassert>
#include <memory>
#include <semaphore>
#include <thread>

#include "src/testing/fiber.h"

namespace once::testing {
namespace {

class ThreadFiber : public Fiber {
 public:
  ThreadFiber() : thread_([this] { Loop(); }) {}
  ~ThreadFiber() override {
    assert(is_done());
    is_ending_ = true;
    inside_.release();
    thread_.join();
  }

  void Resume() override {
    assert(!is_done());
    inside_.release();
    outside_.acquire();
  }
  void Suspend() override {
    outside_.release();
    inside_.acquire();
  }

 private:
  void Loop() {
    inside_.acquire();
    while (!is_ending_) {
      RunBody();
      Suspend();
    }
  }

  std::binary_semaphore inside_{0};   // the baton, handed to the thread …
  std::binary_semaphore outside_{0};  // … and back to its resumer
  bool is_ending_ = false;
  std::thread thread_;  // last: it begins with what is above
};

}  // namespace

std::unique_ptr<Fiber> NewThreadFiber() { return std::make_unique<ThreadFiber>(); }

}  // namespace once::testing
