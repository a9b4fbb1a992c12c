// Details of a call name what it is about: "at":[[partition,offset],…] and "ids":["o-1",…].
#include "tests/campaign/recorded_seams.h"

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "once/abseil.h"
#include "tests/forwarding_seams.h"

namespace once::campaign {
namespace {

std::string At(std::int32_t partition, std::int64_t offset) {
  return absl::StrCat("[", partition, ",", offset, "]");
}

template <typename Items, typename Text>
std::string List(const Items& items, Text text) {
  return absl::StrCat(
      "[",
      absl::StrJoin(items, ",",
                    [&](std::string* out, const auto& item) { absl::StrAppend(out, text(item)); }),
      "]");
}

std::string Quoted(std::string_view text) { return absl::StrCat("\"", ToAbsl(text), "\""); }

std::string Offsets(std::span<const PartitionOffset> positions) {
  return List(positions, [](const PartitionOffset& position) {
    return At(position.partition.partition, position.offset);
  });
}

// Remembers what is staged, for the line of the commit.
class RecordedTransaction : public testing::ForwardingTransaction {
 public:
  RecordedTransaction(Recorder recorder, std::unique_ptr<StoreTransaction> inner)
      : ForwardingTransaction(std::move(inner)), recorder_(recorder) {}

  absl::Status PutIds(std::span<const IdWrite> writes) override {
    ids_ = List(writes, [](const IdWrite& write) { return Quoted(write.key.id); });
    return inner_->PutIds(writes);
  }
  absl::Status PutOutgoing(std::span<const OutboxRow> rows) override {
    letters_ = List(rows, [](const OutboxRow& row) {
      return At(row.origin.key.partition.partition, row.origin.offset);
    });
    return inner_->PutOutgoing(rows);
  }
  absl::Status SetPositions(std::span<const PositionUpdate> updates) override {
    positions_ = List(updates, [](const PositionUpdate& update) {
      return At(update.key.partition.partition, update.position);
    });
    return inner_->SetPositions(updates);
  }
  absl::Status Commit(Durability wanted) override {
    const std::int64_t call = recorder_.history.Invoke(
        recorder_.member, "commit",
        absl::StrCat("{\"at\":", positions_, ",\"ids\":", ids_, ",\"letters\":", letters_, "}"));
    absl::Status status = inner_->Commit(wanted);
    recorder_.history.End(recorder_.member, "commit", call, EndOf(status));
    return status;
  }

 private:
  const Recorder recorder_;
  std::string ids_ = "[]";
  std::string letters_ = "[]";
  std::string positions_ = "[]";
};

class RecordedClaims : public testing::ForwardingClaims {
 public:
  RecordedClaims(Recorder recorder, ClaimStore& inner)
      : ForwardingClaims(inner), recorder_(recorder) {}

  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override {
    const std::int64_t call = Invoke("claim", requests);
    absl::Status status = inner_.TryClaim(requests, lease, results);
    const std::string verdicts = List(results, [](const ClaimResult& result) {
      return std::to_string(static_cast<int>(result.verdict));
    });
    recorder_.history.End(recorder_.member, "claim", call, EndOf(status),
                          status.ok() ? absl::StrCat("{\"verdicts\":", verdicts, "}") : "");
    return status;
  }
  absl::Status Begun(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    return Tell("begun", claims, outcomes, [&] { return inner_.Begun(claims, outcomes); });
  }
  absl::Status Complete(std::span<const CompletedClaim> claims,
                        std::span<absl::Status> outcomes) override {
    return Tell("complete", claims, outcomes, [&] { return inner_.Complete(claims, outcomes); });
  }
  absl::Status Fail(std::span<const FailedClaim> claims,
                    std::span<absl::Status> outcomes) override {
    return Tell("failed", claims, outcomes, [&] { return inner_.Fail(claims, outcomes); });
  }
  absl::Status Dying(std::span<const DyingClaim> claims,
                     std::span<absl::Status> outcomes) override {
    return Tell("dying", claims, outcomes, [&] { return inner_.Dying(claims, outcomes); });
  }
  absl::Status Kill(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    return Tell("kill", claims, outcomes, [&] { return inner_.Kill(claims, outcomes); });
  }
  absl::Status Discard(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    return Tell("discard", claims, outcomes, [&] { return inner_.Discard(claims, outcomes); });
  }
  absl::Status Release(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    return Tell("release", claims, outcomes, [&] { return inner_.Release(claims, outcomes); });
  }
  absl::Status Sync() override {
    const std::int64_t call = recorder_.history.Invoke(recorder_.member, "sync", "{}");
    absl::Status status = inner_.Sync();
    recorder_.history.End(recorder_.member, "sync", call, EndOf(status));
    return status;
  }

 private:
  static const IdKey& KeyOf(const ClaimRequest& request) { return request.key; }
  static const IdKey& KeyOf(const Claim& claim) { return claim.key; }
  template <typename C>
  static const IdKey& KeyOf(const C& claim) {
    return claim.claim.key;
  }

  template <typename C>
  std::int64_t Invoke(std::string_view name, std::span<const C> claims) {
    const std::string ids = List(claims, [](const C& claim) { return Quoted(KeyOf(claim).id); });
    return recorder_.history.Invoke(recorder_.member, name, absl::StrCat("{\"ids\":", ids, "}"));
  }

  // A claim that is not ours any more is a refusal: "lost" counts them.
  template <typename C, typename Call>
  absl::Status Tell(std::string_view name, std::span<const C> claims,
                    std::span<absl::Status> outcomes, Call call) {
    const std::int64_t invoke = Invoke(name, claims);
    absl::Status status = call();
    const auto lost = std::count_if(outcomes.begin(), outcomes.end(),
                                    [](const absl::Status& one) { return absl::IsAborted(one); });
    recorder_.history.End(recorder_.member, name, invoke, EndOf(status),
                          status.ok() && lost > 0 ? absl::StrCat("{\"lost\":", lost, "}") : "");
    return status;
  }

  const Recorder recorder_;
};

class RecordedStore : public testing::ForwardingStore {
 public:
  RecordedStore(Recorder recorder, const std::shared_ptr<DedupStore>& inner)
      : ForwardingStore(inner), recorder_(recorder) {
    if (inner->claims() != nullptr) {
      claims_ = std::make_unique<RecordedClaims>(recorder, *inner->claims());
    }
  }

  ClaimStore* claims() override { return claims_.get(); }

  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override {
    absl::StatusOr<BeginResult> result = inner().Begin(locks);
    if (result.ok() && result->transaction != nullptr) {
      result->transaction =
          std::make_unique<RecordedTransaction>(recorder_, std::move(result->transaction));
    }
    if (result.ok() && !result->mismatches.empty()) NoteRefusal(locks, result->mismatches);
    return result;
  }

  absl::StatusOr<std::vector<TakenPosition>> Take(std::span<const TakeRequest> requests) override {
    const std::int64_t call = recorder_.history.Invoke(recorder_.member, "take", "{}");
    absl::StatusOr<std::vector<TakenPosition>> taken = inner().Take(requests);
    std::string details;
    if (taken.ok()) {
      std::vector<std::pair<std::int32_t, std::int64_t>> positions;
      for (std::size_t i = 0; i < requests.size(); ++i) {
        positions.emplace_back(requests[i].key.partition.partition, (*taken)[i].current.position);
      }
      details = absl::StrCat(
          "{\"at\":", List(positions, [](const auto& at) { return At(at.first, at.second); }), "}");
    }
    recorder_.history.End(recorder_.member, "take", call, EndOf(taken.status()), details);
    return taken;
  }

 private:
  void NoteRefusal(std::span<const PositionLock> locks,
                   std::span<const BeginResult::Mismatch> mismatches) {
    const std::string rows = List(mismatches, [&](const BeginResult::Mismatch& mismatch) {
      const PositionLock& lock = locks[mismatch.lock];
      return At(lock.key.partition.partition, lock.expected.position);
    });
    const std::int64_t call =
        recorder_.history.Invoke(recorder_.member, "begin", absl::StrCat("{\"at\":", rows, "}"));
    recorder_.history.End(recorder_.member, "begin", call, "fail");
  }

  const Recorder recorder_;
  std::unique_ptr<RecordedClaims> claims_;
};

class RecordedSource : public testing::ForwardingSource {
 public:
  RecordedSource(Recorder recorder, std::unique_ptr<LogSource> inner)
      : ForwardingSource(std::move(inner)), recorder_(recorder) {}

  absl::StatusOr<Batch> Poll(const PollOptions& options, SourceListener& listener) override {
    absl::StatusOr<Batch> batch = inner_->Poll(options, listener);
    if (!batch.ok() || batch->empty()) return batch;
    std::map<std::int32_t, std::pair<std::int64_t, std::int64_t>> runs;
    for (const Message& message : batch->messages()) {
      auto [run, is_new] = runs.try_emplace(message.partition(), message.offset(), 0);
      run->second.second = message.offset();
    }
    const std::string polled = List(runs, [](const auto& run) {
      return absl::StrCat("[", run.first, ",", run.second.first, ",", run.second.second, "]");
    });
    const std::int64_t call =
        recorder_.history.Invoke(recorder_.member, "poll", absl::StrCat("{\"runs\":", polled, "}"));
    recorder_.history.End(recorder_.member, "poll", call, "ok");
    return batch;
  }
  absl::Status Start(std::span<const PartitionOffset> positions) override {
    return Note("start", positions, [&] { return inner_->Start(positions); });
  }
  absl::Status Commit(std::span<const PartitionOffset> positions, CommitMode mode) override {
    return Note(mode == CommitMode::kVerified ? "verify" : "hint", positions,
                [&] { return inner_->Commit(positions, mode); });
  }

 private:
  template <typename Call>
  absl::Status Note(std::string_view name, std::span<const PartitionOffset> positions, Call call) {
    const std::int64_t invoke = recorder_.history.Invoke(
        recorder_.member, name, absl::StrCat("{\"at\":", Offsets(positions), "}"));
    absl::Status status = call();
    recorder_.history.End(recorder_.member, name, invoke, EndOf(status));
    return status;
  }

  const Recorder recorder_;
};

class RecordedPublisher : public testing::ForwardingPublisher {
 public:
  RecordedPublisher(Recorder recorder, std::shared_ptr<Publisher> inner)
      : ForwardingPublisher(std::move(inner)), recorder_(recorder) {}

  void Publish(std::span<const OutgoingMessage> messages, absl::Time deadline,
               std::span<absl::Status> outcomes) override {
    const std::string ids = List(messages, [](const OutgoingMessage& message) {
      const auto id = std::find_if(message.headers.begin(), message.headers.end(),
                                   [](const OwnedHeader& one) { return one.name == "once-id"; });
      return Quoted(id == message.headers.end() ? "" : id->value.value_or(""));
    });
    const std::int64_t call =
        recorder_.history.Invoke(recorder_.member, "publish", absl::StrCat("{\"ids\":", ids, "}"));
    inner_->Publish(messages, deadline, outcomes);
    const bool is_all = std::all_of(outcomes.begin(), outcomes.end(),
                                    [](const absl::Status& one) { return one.ok(); });
    recorder_.history.End(recorder_.member, "publish", call, is_all ? "ok" : "info");
  }

 private:
  const Recorder recorder_;
};

}  // namespace

std::shared_ptr<DedupStore> Record(Recorder recorder, std::shared_ptr<DedupStore> store) {
  return std::make_shared<RecordedStore>(recorder, std::move(store));
}

std::unique_ptr<LogSource> Record(Recorder recorder, std::unique_ptr<LogSource> source) {
  return std::make_unique<RecordedSource>(recorder, std::move(source));
}

std::shared_ptr<Publisher> Record(Recorder recorder, std::shared_ptr<Publisher> publisher) {
  return std::make_shared<RecordedPublisher>(recorder, std::move(publisher));
}

RecordedInvocation::RecordedInvocation(Recorder recorder, const Message& message)
    : recorder_(recorder),
      invoke_(recorder.history.Invoke(
          recorder.member, "handle",
          absl::StrCat("{\"at\":[", At(message.partition(), message.offset()), "],\"ids\":[",
                       Quoted(message.id()), "],\"attempt\":", message.attempt(),
                       ",\"repeated\":", message.maybe_repeated() ? "true" : "false", "}"))) {}

void RecordedInvocation::End(const absl::Status& status) {
  recorder_.history.End(recorder_.member, "handle", invoke_, EndOf(status));
}

}  // namespace once::campaign
