// A fibre as a stack of its own: switching stacks, and telling the sanitizers about it. Source of
// the annotations: sanitizer/common_interface_defs.h, sanitizer/tsan_interface.h.
#include <cxxabi.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <boost/context/detail/fcontext.hpp>
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "src/testing/fiber.h"

// g++ says it by macros, clang by features.
#if defined(__SANITIZE_ADDRESS__)
#define ONCE_FIBER_ASAN
#elif defined(__SANITIZE_THREAD__)
#define ONCE_FIBER_TSAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ONCE_FIBER_ASAN
#elif __has_feature(thread_sanitizer)
#define ONCE_FIBER_TSAN
#endif
#endif

#if defined(ONCE_FIBER_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(ONCE_FIBER_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace once::testing {
namespace {

namespace context = boost::context::detail;

#if defined(ONCE_FIBER_ASAN) || defined(ONCE_FIBER_TSAN)
constexpr std::size_t kStackBytes = 1024 * 1024;
#else
constexpr std::size_t kStackBytes = 256 * 1024;
#endif

void* MapStack(std::size_t size) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) {
    std::perror("once: no memory for the stack of a fibre");
    std::abort();
  }
  return memory;
}

void SwapExceptions(std::array<unsigned char, 16>& save, std::array<unsigned char, 16>& load) {
  void* globals = __cxxabiv1::__cxa_get_globals();
  std::memcpy(save.data(), globals, save.size());
  std::memcpy(globals, load.data(), load.size());
}

// What the sanitizers must be told about a switch. Empty without them.
struct Annotations {
#if defined(ONCE_FIBER_ASAN)
  void* fake_stack_inside = nullptr;
  void* fake_stack_outside = nullptr;
  const void* outside_bottom = nullptr;
  std::size_t outside_size = 0;
#endif
#if defined(ONCE_FIBER_TSAN)
  void* fiber = nullptr;
  void* outside = nullptr;
#endif
};

class StackFiber : public Fiber {
 public:
  StackFiber();
  ~StackFiber() override;
  void Resume() override;
  void Suspend() override;

 private:
  void Loop();

  std::size_t size_ = 0;
  void* memory_ = nullptr;   // lowest address is an inaccessible page
  void* inside_ = nullptr;   // fcontext to continue the fibre
  void* outside_ = nullptr;  // fcontext to continue its resumer
  // __cxa_get_globals(): caught exceptions and their count belong to the stack, not to the thread.
  std::array<unsigned char, 16> exceptions_inside_{};
  std::array<unsigned char, 16> exceptions_outside_{};
  [[maybe_unused]] Annotations annotations_;
};

StackFiber::StackFiber() : size_(kStackBytes), memory_(MapStack(kStackBytes)) {
  char* top = static_cast<char*>(memory_) + size_;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  inside_ = context::make_fcontext(top, size_ - page, [](context::transfer_t from) {
    auto* fiber = static_cast<StackFiber*>(from.data);
    fiber->outside_ = from.fctx;
    fiber->Loop();
  });
#if defined(ONCE_FIBER_TSAN)
  annotations_.fiber = __tsan_create_fiber(0);
#endif
}

StackFiber::~StackFiber() {
  assert(is_done());
#if defined(ONCE_FIBER_TSAN)
  __tsan_destroy_fiber(annotations_.fiber);
#endif
#if defined(ONCE_FIBER_ASAN)
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  __asan_unpoison_memory_region(static_cast<char*>(memory_) + page, size_ - page);
#endif
  munmap(memory_, size_);
}

void StackFiber::Resume() {
  assert(!is_done());
  SwapExceptions(exceptions_outside_, exceptions_inside_);
#if defined(ONCE_FIBER_ASAN)
  __sanitizer_start_switch_fiber(&annotations_.fake_stack_outside, memory_, size_);
#endif
#if defined(ONCE_FIBER_TSAN)
  annotations_.outside = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(annotations_.fiber, 0);
#endif
  inside_ = context::jump_fcontext(inside_, this).fctx;
#if defined(ONCE_FIBER_ASAN)
  __sanitizer_finish_switch_fiber(annotations_.fake_stack_outside, nullptr, nullptr);
#endif
  SwapExceptions(exceptions_inside_, exceptions_outside_);
}

void StackFiber::Suspend() {
#if defined(ONCE_FIBER_ASAN)
  __sanitizer_start_switch_fiber(&annotations_.fake_stack_inside, annotations_.outside_bottom,
                                 annotations_.outside_size);
#endif
#if defined(ONCE_FIBER_TSAN)
  __tsan_switch_to_fiber(annotations_.outside, 0);
#endif
  outside_ = context::jump_fcontext(outside_, this).fctx;
#if defined(ONCE_FIBER_ASAN)
  __sanitizer_finish_switch_fiber(annotations_.fake_stack_inside, &annotations_.outside_bottom,
                                  &annotations_.outside_size);
#endif
}

void StackFiber::Loop() {
#if defined(ONCE_FIBER_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, &annotations_.outside_bottom,
                                  &annotations_.outside_size);
#endif
  while (true) {
    RunBody();
    Suspend();
  }
}

}  // namespace

std::unique_ptr<Fiber> NewStackFiber() { return std::make_unique<StackFiber>(); }

}  // namespace once::testing
