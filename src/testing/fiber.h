// A Fiber runs one body after another, and gives control back to its resumer in the middle of them.
// Two kinds, for one and the same scheduler:
//
//   kStack   a stack of its own on the thread that resumes it: fast (stack_fiber.cc)
//   kThread  a thread of its own that waits for the baton: slow, and a check of the other kind,
//            since nothing here knows of contexts, exceptions or sanitizers (thread_fiber.cc)
//
// A fibre never leaves its entry function between bodies: ThreadSanitizer's fibre interface grows
// without bound when fibres are made anew for each (measured: 5 GB).
// Thread-safety: none; whoever has been given control may call.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "once/testing/fiber_executor.h"

namespace once::testing {

class Fiber {
 public:
  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  // REQUIRES: is_done().
  virtual ~Fiber() = default;

  // What the next Resume() begins with. REQUIRES: is_done().
  void Start(std::function<void()> body);
  // From outside: runs the body until it suspends or ends. REQUIRES: !is_done().
  virtual void Resume() = 0;
  // From inside the body: gives control back to Resume().
  virtual void Suspend() = 0;
  // True when there is no body, or it has ended.
  bool is_done() const { return is_done_; }

 protected:
  // All of the body. Afterwards the fibre is done, and must give control back.
  void RunBody();

 private:
  std::function<void()> body_;
  bool is_done_ = true;
};

std::unique_ptr<Fiber> NewStackFiber();
std::unique_ptr<Fiber> NewThreadFiber();

// Fibres that are not in use.
class FiberPool {
 public:
  static FiberPool& OfThisThread(FiberKind kind);
  std::unique_ptr<Fiber> Take();
  // REQUIRES: fiber->is_done().
  void Give(std::unique_ptr<Fiber> fiber);

 private:
  explicit FiberPool(FiberKind kind) : kind_(kind) {}
  FiberKind kind_;
  std::vector<std::unique_ptr<Fiber>> free_;
};

}  // namespace once::testing
