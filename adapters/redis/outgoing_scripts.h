// What is done to a shared spool, as scripts: each runs alone, looks at everything before it writes
// anything, its user's rights too, and names all of its keys, so that one whose slot is moving is
// refused as a whole. One that fails all the same behind its first write says HALFWRITTEN.
//
// A spool is, under one tag: its own hash (rows, bytes, parked: how many there are); of each lane a
// hash, with the facts of stores::OutgoingState under their keys and, behind `=`, who holds it (o),
// until when (e), its revision (r) and the last one that a relay
// wrote (w), the number of its last row (n) and of the first there is (f);
// of each lane a hash of rows, by number: sixteen digits of the time, then the message. And
// streams, voids, epochs (r: rounds under way, o: who places them), and relays by the end of their
// leases; an append's key says which of one opening was decided last, and how.
// Pure data; safe for concurrent use.
#pragma once

#include <cstddef>

#include "adapters/redis/scripts.h"

namespace once::redis {

// In front of the message, in every row: microseconds since 1970.
inline constexpr std::size_t kRowTimeDigits = 16;

struct OutgoingScripts {
  // KEYS spool, append, then lane and rows of each; ARGV clock's lead, number, number that was
  // decided before, milliseconds to keep that, greatest rows and bytes, rows, bytes, lanes; of each
  // lane how many, and the messages → one of AppendAnswer, 1 if the server has forgotten something.
  Script append;
  // KEYS append; ARGV number, milliseconds → 1: it was applied, 0: never, 2: in part, since the
  // server failed in the middle of it.
  Script resolve;
  // KEYS relays, all lanes; ARGV lead, token, former token, lease, first lane to look at, lanes
  // that are held as the caller knows → 1 if one of those is lost, share, lanes.
  Script hold;
  // KEYS relays, lanes; ARGV 1 if it leaves altogether, then its tokens.
  Script give_up;
  // KEYS lanes; ARGV token → of each 1 if it is the token's, revision, last number.
  Script look;
  // KEYS lane; ARGV cursor → owner, revision, the last one of a relay, next cursor, then keys and
  // values.
  Script facts;
  // KEYS lane, rows; ARGV token, number, rows, bytes → 1 if it is the token's, then number and row
  // of each one behind that number.
  Script read_on;
  // KEYS rows; ARGV bytes, numbers → a row for each of the first of them; empty: it is gone.
  Script read_rows;
  // Below.
  Script write;
  // KEYS spool, then lane and rows of each → rows, parked, bytes, then the time of the first row of
  // each lane.
  Script count;
  // KEYS epochs, relays; ARGV lead, token, epoch → 1: rounds of it are under way, or another relay
  // that is there places with it.
  Script find_epoch;
  // KEYS streams, epochs; ARGV epoch, keys of its streams.
  Script close_epoch;
  // KEYS lane, rows; ARGV number, rows, bytes → number and row of each that is there, behind it.
  Script list_rows;
};

enum AppendAnswer : int { kAppended = 0, kSpoolFull = 1, kDecidedBefore = 2 };
inline constexpr int kAppendedInPart = 2;  // of resolve

// `write`: KEYS spool, streams, voids, epochs, then lane and rows of each. ARGV lead, token (empty:
// an operator, who holds none), lease, revision that the lanes get, lanes; of each lane the one
// that it has, first number, a number and the time of that row (0: none), how many facts, keys and
// values, how many forgotten facts, keys, how many ranges of rows that go, first and last of each;
// then, with how many in front of each: streams (key, last, first and last offset), voids (key,
// value), declared voids (key), epochs that are placed, epochs of finished rounds. Answers kSaid,
// kLost (it is another's), or:
inline constexpr int kOtherRevision = -2;
inline constexpr int kOtherRow = -3;

const OutgoingScripts& ScriptsOfOutgoing();

}  // namespace once::redis
