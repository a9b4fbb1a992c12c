// A ServerWatch notices when the server behind the store is no longer the one that has answered: a
// restart, a promoted replica, data that went back or is gone. What may be lost then is said once
// to every thread whose words may be among it, by its next Sync(), and the store's traits fall
// where the loss can happen again. Threads, since several consumers share one opened store, and
// each says its words and syncs them on one thread.
//
// To know what is lost there is a witness: a number in the server that this opening alone writes,
// upwards, with every Sync(). Redis loses suffixes of what it was told, never something in the
// middle; so whoever finds the witness as it was has everything that was said before it.
// Thread-safety: safe for concurrent use.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "adapters/redis/server_facts.h"
#include "once/dedup_store.h"

namespace once::redis {

class ServerWatch {
 public:
  ServerWatch() = default;

  // Once, before anything else: the server as it was found at the opening.
  void Begin(const ServerFacts& facts);
  void NameStore(const std::string& id, std::uint64_t open_count);

  StoreTraits traits() const;

  // Who answers: rises when it is somebody else. Connections of a lower number lead to a server
  // whose answers count no more.
  std::uint64_t generation() const;
  // Rises with the generation, and with every loss that is noticed.
  std::uint64_t losses() const;

  // What is known of the witness before somebody looks at it: meanwhile others may move it.
  struct Expected {
    std::uint64_t witness = 0;
    std::uint64_t losses = 0;  // so many were noticed
  };
  Expected BeginLook() const;
  // What was then seen on one connection: the server's facts and the witness in it.
  // REQUIRES: CheckServes(facts).
  void Observe(const ServerFacts& facts, std::uint64_t witness, const Expected& expected);

  // This thread is about to say a word, which the next server may not know.
  void NoteWord();

  // A Sync() in three steps; one at a time. The witness goes from `known` to `next`.
  struct SyncStep {
    std::uint64_t known = 0;
    std::uint64_t next = 0;
  };
  SyncStep BeginSync();
  // `is_witness_lost`: the server had less than `known`.
  absl::Status EndSync(const SyncStep& step, bool is_witness_lost);

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

  mutable std::mutex mutex_;
  ServerFacts facts_;
  StoreTraits traits_ = {.name = "redis", .is_shared = true};
  std::uint64_t generation_ = 1;
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
