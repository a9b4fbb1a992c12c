// A Fiber is one stack that runs one body after another, cooperatively, on the thread that made
// it. It never leaves its entry function between bodies: ThreadSanitizer's fibre interface grows
// without bound when fibres are made anew for each (measured: 5 GB). Source of the annotations:
// sanitizer/common_interface_defs.h, sanitizer/tsan_interface.h.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

namespace once::testing {

class Fiber {
 public:
  Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  // What the next Resume() begins with. REQUIRES: is_done().
  void Start(std::function<void()> body);
  // From outside: runs the body until it suspends or ends. REQUIRES: !is_done().
  void Resume();
  // From inside the body: gives control back to Resume().
  void Suspend();
  // True when there is no body, or it has ended.
  bool is_done() const { return is_done_; }

 private:
  struct Annotations;
  void Loop();

  std::size_t size_ = 0;
  void* memory_ = nullptr;   // lowest address is an inaccessible page
  void* inside_ = nullptr;   // fcontext to continue the fibre
  void* outside_ = nullptr;  // fcontext to continue its resumer
  std::function<void()> body_;
  bool is_done_ = true;
  // __cxa_get_globals(): caught exceptions and their count belong to the stack, not to the thread.
  std::array<unsigned char, 16> exceptions_inside_{};
  std::array<unsigned char, 16> exceptions_outside_{};
  std::unique_ptr<Annotations> annotations_;
};

// Fibres of this thread that are not in use.
class FiberPool {
 public:
  static FiberPool& OfThisThread();
  std::unique_ptr<Fiber> Take();
  // REQUIRES: fiber->is_done().
  void Give(std::unique_ptr<Fiber> fiber);

 private:
  std::vector<std::unique_ptr<Fiber>> free_;
};

}  // namespace once::testing
