// The seams through which the engine meets time, threads and randomness. Production code uses
// SystemExecutor() and SystemRandom(); the simulator passes fibres, virtual time and an oracle, and
// runs the same compiled engine.
//
// Status contract of every seam (stores, sources, publishers too): kUnknown = may have been
// applied; kCancelled = stopping or dead, nothing more will happen here; any other error = not
// applied. No lock is held across a seam call.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "absl/time/time.h"

namespace once {

// A sticky flag that one thread can wait for. Set() before the wait is not lost; a successful wait
// clears it. Set() is safe from any thread; one waiter at a time.
class Event {
 public:
  virtual ~Event() = default;
  virtual void Set() = 0;
  // True when set by `deadline`, and then cleared. absl::InfiniteFuture() waits for ever.
  virtual bool WaitUntil(absl::Time deadline) = 0;
};

// A running thread of work. The destructor waits for its end.
class Task {
 public:
  virtual ~Task() = default;
};

class Executor {
 public:
  virtual ~Executor() = default;
  // Wall clock. The engine uses it for delays, timeouts and reports, never to decide who is right.
  virtual absl::Time Now() = 0;
  virtual std::unique_ptr<Event> NewEvent() = 0;
  // Runs `body` concurrently. `name` shows up in debuggers (at most 15 bytes of it on Linux).
  virtual std::unique_ptr<Task> Spawn(std::string_view name, std::function<void()> body) = 0;
};

// Source of writer tags and jitter. Safe for concurrent use.
class Random {
 public:
  virtual ~Random() = default;
  virtual std::uint64_t Next() = 0;
};

// Threads, condition variables and the system clock.
std::shared_ptr<Executor> SystemExecutor();

// Seeded from the operating system.
std::shared_ptr<Random> SystemRandom();

}  // namespace once
