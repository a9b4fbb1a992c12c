// Tells ThreadSanitizer what abseil's synchronisation means. Linked into every program of the tsan
// build and into nothing else.
//
// A distribution's abseil is not instrumented, so ThreadSanitizer sees no order between two holders
// of an absl::Mutex and reports a race on all that it guards. The functions below take the place of
// the shared library's (an executable's definitions win), call the originals, and add the order.
// Conditions run inside the original Unlock(), after the release we report: reads in them are
// not checked.
#include <absl/base/config.h>
#include <absl/synchronization/mutex.h>
#include <absl/synchronization/notification.h>
#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include <cstdio>
#include <cstdlib>
#include <string>

extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
}

namespace {

#define ONCE_TEXT_OF(name) #name
#define ONCE_TEXT(name) ONCE_TEXT_OF(name)

// The original of the member function with this mangled tail, in abseil's inline namespace.
template <typename Function>
Function* Original(const char* prefix, const char* tail) {
  const std::string space = ONCE_TEXT(ABSL_OPTION_INLINE_NAMESPACE_NAME);
  const std::string name = prefix + std::to_string(space.size()) + space + tail;
  void* found = dlsym(RTLD_NEXT, name.c_str());
  if (found == nullptr) {
    std::fprintf(stderr, "tsan_abseil.cc: this abseil has no %s\n", name.c_str());
    std::abort();
  }
  return reinterpret_cast<Function*>(found);
}

// `original` within a function: resolved at its first call.
#define ONCE_ORIGINAL(tail, ...) \
  static auto* const original = Original<__VA_ARGS__>("_ZN4absl", tail)
#define ONCE_ORIGINAL_CONST(tail, ...) \
  static auto* const original = Original<__VA_ARGS__>("_ZNK4absl", tail)

// The atomic flag behind a Notification's mutex: HasBeenNotified(), inlined in our code, loads it.
void* FlagOf(const absl::Notification* notification) {
  return const_cast<char*>(reinterpret_cast<const char*>(notification)) + sizeof(absl::Mutex);
}

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

using synchronization_internal::KernelTimeout;

#define ONCE_LOCK(function, tail)               \
  void Mutex::function() {                      \
    ONCE_ORIGINAL("5Mutex" tail, void(Mutex*)); \
    original(this);                             \
    __tsan_acquire(this);                       \
  }
#define ONCE_TRY_LOCK(function, tail)           \
  bool Mutex::function() {                      \
    ONCE_ORIGINAL("5Mutex" tail, bool(Mutex*)); \
    if (!original(this)) return false;          \
    __tsan_acquire(this);                       \
    return true;                                \
  }
#define ONCE_UNLOCK(function, tail)             \
  void Mutex::function() {                      \
    ONCE_ORIGINAL("5Mutex" tail, void(Mutex*)); \
    __tsan_release(this);                       \
    original(this);                             \
  }
#define ONCE_LOCK_WHEN(function, tail)                                                 \
  void Mutex::function(const Condition& condition) {                                   \
    ONCE_ORIGINAL("5Mutex" tail "ERKNS0_9ConditionE", void(Mutex*, const Condition&)); \
    original(this, condition);                                                         \
    __tsan_acquire(this);                                                              \
  }
#define ONCE_LOCK_WHEN_UNTIL(function, Limit, tail)                      \
  bool Mutex::function(const Condition& condition, Limit limit) {        \
    ONCE_ORIGINAL("5Mutex" tail, bool(Mutex*, const Condition&, Limit)); \
    const bool is_true = original(this, condition, limit);               \
    __tsan_acquire(this);                                                \
    return is_true;                                                      \
  }

ONCE_LOCK(Lock, "4LockEv")
ONCE_LOCK(ReaderLock, "10ReaderLockEv")
ONCE_TRY_LOCK(TryLock, "7TryLockEv")
ONCE_TRY_LOCK(ReaderTryLock, "13ReaderTryLockEv")
ONCE_UNLOCK(Unlock, "6UnlockEv")
ONCE_UNLOCK(ReaderUnlock, "12ReaderUnlockEv")
ONCE_LOCK_WHEN(LockWhen, "8LockWhen")
ONCE_LOCK_WHEN(ReaderLockWhen, "14ReaderLockWhen")
ONCE_LOCK_WHEN_UNTIL(LockWhenWithTimeout, Duration,
                     "19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE")
ONCE_LOCK_WHEN_UNTIL(LockWhenWithDeadline, Time,
                     "20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE")
ONCE_LOCK_WHEN_UNTIL(ReaderLockWhenWithTimeout, Duration,
                     "25ReaderLockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE")
ONCE_LOCK_WHEN_UNTIL(ReaderLockWhenWithDeadline, Time,
                     "26ReaderLockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE")

// Behind Await() and its variants.
bool Mutex::AwaitCommon(const Condition& condition, KernelTimeout limit) {
  ONCE_ORIGINAL(
      "5Mutex11AwaitCommonERKNS0_9ConditionENS0_24synchronization_internal13KernelTimeoutE",
      bool(Mutex*, const Condition&, KernelTimeout));
  __tsan_release(this);
  const bool is_true = original(this, condition, limit);
  __tsan_acquire(this);
  return is_true;
}

// Behind Wait() and its variants.
bool CondVar::WaitCommon(Mutex* mutex, KernelTimeout limit) {
  ONCE_ORIGINAL("7CondVar10WaitCommonEPNS0_5MutexENS0_24synchronization_internal13KernelTimeoutE",
                bool(CondVar*, Mutex*, KernelTimeout));
  __tsan_release(mutex);
  const bool is_late = original(this, mutex, limit);
  __tsan_acquire(mutex);
  return is_late;
}

bool Condition::Eval() const {
  ONCE_ORIGINAL_CONST("9Condition4EvalEv", bool(const Condition*));
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  const bool is_true = original(this);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  return is_true;
}

void Notification::Notify() {
  ONCE_ORIGINAL("12Notification6NotifyEv", void(Notification*));
  __tsan_release(FlagOf(this));
  original(this);
}

void Notification::WaitForNotification() const {
  ONCE_ORIGINAL_CONST("12Notification19WaitForNotificationEv", void(const Notification*));
  original(this);
  __tsan_acquire(FlagOf(this));
}

bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  ONCE_ORIGINAL_CONST("12Notification30WaitForNotificationWithTimeoutENS0_8DurationE",
                      bool(const Notification*, Duration));
  const bool is_notified = original(this, timeout);
  if (is_notified) __tsan_acquire(FlagOf(this));
  return is_notified;
}

bool Notification::WaitForNotificationWithDeadline(Time deadline) const {
  ONCE_ORIGINAL_CONST("12Notification31WaitForNotificationWithDeadlineENS0_4TimeE",
                      bool(const Notification*, Time));
  const bool is_notified = original(this, deadline);
  if (is_notified) __tsan_acquire(FlagOf(this));
  return is_notified;
}

ABSL_NAMESPACE_END
}  // namespace absl
