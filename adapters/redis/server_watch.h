// A ServerWatch notices when a server behind the store is no longer the one that has answered: a
// restart, a promoted replica, data that went back or is gone. What may be lost then is said once
// to every thread whose words may be among it, by its next Sync(), and trust in the server falls
// where the loss can happen again. Threads, since several consumers share one opened store, and
// each says its words and syncs them on one thread.
//
// To know what is lost there is a witness: a number in the server that this opening alone writes,
// upwards, with every Sync(). Redis loses suffixes of what it was told, never something in the
// middle; so whoever finds the witness as it was has everything that was said before it.
// In a cluster the witness lies in a slot of its server, and moves with that slot: it is looked for
// where the slot is, and begun anew in another one where that is no longer its server.
// Thread-safety: safe for concurrent use.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "adapters/redis/server_facts.h"

namespace once::redis {

class ServerWatch {
 public:
  explicit ServerWatch(std::string witness_tag) : witness_tag_(std::move(witness_tag)) {}

  // The server as it was found first. It stays as it is when that has happened before.
  void Begin(const ServerFacts& facts);
  bool has_begun() const;

  // What is said of it so far; kMachine before it has begun. Never rises again.
  Trust trust() const;

  // Who answers: rises when it is somebody else. Connections of a lower number lead to a server
  // whose answers count no more.
  std::uint64_t generation() const;
  // Rises with the generation, and with every loss that is noticed.
  std::uint64_t losses() const;

  // What is known of the witness before somebody looks at it: meanwhile others may move it.
  struct Expected {
    std::string tag;  // of its key
    std::uint64_t witness = 0;
    std::uint64_t losses = 0;  // so many were noticed
  };
  Expected BeginLook() const;
  // What was then seen on one connection: the server's facts and the witness in it, nullopt where
  // it cannot be looked at there. True: it was promoted since it was looked at last, or, when this
  // is the first look, ever.
  // REQUIRES: CheckServes(facts).
  bool Observe(const ServerFacts& facts, std::optional<std::uint64_t> witness,
               const Expected& expected);
  // The server's place was taken by another one, which has this witness.
  void ObserveSuccessor(bool is_promoted, std::optional<std::uint64_t> witness,
                        const Expected& expected);

  // This thread is about to say a word, which the next server may not know.
  void NoteWord();
  // And has not synced it yet.
  bool HasWords() const;

  // A Sync(), one at a time: the witness goes from `known` to `next`, is recorded, and the thread
  // told.
  struct SyncStep {
    std::string tag;
    std::uint64_t known = 0;
    std::uint64_t next = 0;
  };
  SyncStep BeginSync();
  // `is_witness_lost`: the server had less than `known`.
  void RecordWitness(const SyncStep& step, bool is_witness_lost);
  // The next one will be where this tag's slot is.
  void MoveWitness(std::string tag);
  // What this thread has not heard yet: the words it has said are synced otherwise.
  absl::Status Tell();

 private:
  void LowerTo(const Trust& trust);
  // What one thread has said, and been told.
  struct Speaker {
    bool has_words = false;          // not synced by this thread since
    std::uint64_t words_loss = 0;    // word losses that were known before the first of them
    std::uint64_t witness_loss = 0;  // witness losses that it knows of
  };

  Speaker& ThisSpeaker();
  // Words that were not synced may be gone.
  void LoseWords(const std::string& reason);
  // So may words that were.
  void LoseWitness();
  void FailOver();
  // True: there is less than what is known to have been there.
  bool IsLost(std::optional<std::uint64_t> witness, const Expected& expected) const;

  mutable std::mutex mutex_;
  bool has_begun_ = false;
  ServerFacts facts_;
  Trust trust_;
  std::uint64_t generation_ = 1;
  std::string witness_tag_;
  std::uint64_t witness_known_ = 0;  // is in the server, for certain
  std::uint64_t witness_sent_ = 0;   // may be
  std::uint64_t losses_ = 0;         // of the witness
  std::uint64_t words_losses_ = 0;   // of words alone
  std::string last_loss_;            // what the last of either was
  // By thread. As many as ever spoke at a time: a new thread that gets the number of one that is
  // over may be told once too often.
  std::map<std::thread::id, Speaker> speakers_;
};

}  // namespace once::redis
