// What both kinds of fibres share.
#include "src/testing/fiber.h"

#include <cassert>
#include <utility>

namespace once::testing {

void Fiber::Start(std::function<void()> body) {
  assert(is_done_);
  body_ = std::move(body);
  is_done_ = false;
}

void Fiber::RunBody() {
  body_();
  body_ = nullptr;
  is_done_ = true;
}

FiberPool& FiberPool::OfThisThread(FiberKind kind) {
  thread_local FiberPool stacks(FiberKind::kStack);
  thread_local FiberPool threads(FiberKind::kThread);
  return kind == FiberKind::kStack ? stacks : threads;
}

std::unique_ptr<Fiber> FiberPool::Take() {
  if (free_.empty()) return kind_ == FiberKind::kStack ? NewStackFiber() : NewThreadFiber();
  std::unique_ptr<Fiber> fiber = std::move(free_.back());
  free_.pop_back();
  return fiber;
}

void FiberPool::Give(std::unique_ptr<Fiber> fiber) {
  assert(fiber->is_done());
  free_.push_back(std::move(fiber));
}

}  // namespace once::testing
