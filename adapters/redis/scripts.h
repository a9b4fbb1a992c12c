// The words of the claim protocol as scripts, each about one id: a script runs alone, so what it
// reads, decides and writes is one step. The rules are those of src/stores/claims.h; the clock is
// the server's.
//
// KEYS[1] the id's hash; ARGV[1] what is added to the clock, in microseconds, then what is named
// below. Where no → says otherwise, a script answers kSaid, kLost or kNotPermitted. Those about
// another key than an id's have no clock.
// Pure data; safe for concurrent use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace once::redis {

enum class ScriptName : std::uint8_t {
  kClaim,  // fence, fingerprint, lease → verdict, attempt, first failure, wait, disposition, result
  kBegin,     // fence
  kRenew,     // fence, lease
  kComplete,  // fence, result, retention in milliseconds or 0
  kFail,      // fence, delay, 1 if charged, first failure
  kDie,       // fence, disposition, attempt
  kKill,      // fence, number of Disposition::kUncertain
  kDiscard,   // fence, retention in milliseconds or 0
  kRelease,   // fence
  kWitness,   // KEYS[1] the witness: last number known to be there, next one, how long it is kept
  kOpen,      // KEYS[1] the store's own hash: id to be, 1 if it must exist → id, openings, format
  kNoteScope,  // KEYS[1] the set of scopes: a scope, how many may be noted
  kLook,       // → state as others see it, attempt, fingerprint, first failure, not before
  // An operator's word: state to be, states that permit it as digits, retention in milliseconds or
  // 0 → 1 if it was permitted, state that was found
  kDecide,
  // KEYS[1] any key: fields that may be in it, bytes of a value that are wanted → type, fields,
  // time to live, then name and value of each field, of a result its length. Never much.
  kInspect,
};
inline constexpr std::size_t kScriptNames = 15;

// What an owner says, and wants synced.
inline bool IsWord(ScriptName name) { return name <= ScriptName::kRelease; }

inline constexpr int kSaid = 0;
inline constexpr int kLost = -1;
inline constexpr int kNotPermitted = -2;

struct Script {
  std::string text;
  std::string sha1;  // by which EVALSHA names it
};

const Script& ScriptOf(ScriptName name);

// In front of a text: what begins something, and is refused by a full server; what ends something,
// and is not; what only reads.
inline constexpr std::string_view kNeedsSpace = "#!lua\n";
inline constexpr std::string_view kNeedsNone = "#!lua flags=allow-oom\n";
inline constexpr std::string_view kWritesNothing = "#!lua flags=no-writes\n";

Script MakeScript(std::string_view flags, std::initializer_list<std::string_view> parts);

}  // namespace once::redis
