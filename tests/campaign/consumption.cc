// The log, the handlers, and what becomes of them.
#include "tests/campaign/consumption.h"

#include <algorithm>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "tests/campaign/disk.h"

namespace once::campaign {
namespace {

constexpr int kPartitions = 2;
constexpr int kStepsMax = 3'000;

TopicPartition PartitionOf(int number) { return {"orders", number % kPartitions}; }

// Letters that no compression makes less of.
std::string Noise(std::size_t bytes, int number) {
  Dice dice(static_cast<std::uint64_t>(number));
  std::string noise(bytes, ' ');
  for (char& letter : noise) letter = static_cast<char>('a' + dice.Below(26));
  return noise;
}

std::shared_ptr<ScriptedLog> MakeLog(const Load& load) {
  auto log = std::make_shared<ScriptedLog>();
  const auto append = [&](int number, const TopicPartition& partition) {
    log->Append(partition, {.value = Noise(load.value_bytes, number),
                            .headers = {{"id", absl::StrCat("id-", number)}}});
  };
  for (int i = 0; i < load.messages; ++i) {
    append(i, PartitionOf(i));
    if (load.ComesAgain(i)) append(i, PartitionOf(i + 1));
  }
  log->Assign({PartitionOf(0), PartitionOf(1)});
  return log;
}

int NumberOf(const Message& message) { return std::stoi(std::string(message.id().substr(3))); }

}  // namespace

// Keeps the ids of the letters that it has acknowledged.
class LetterBox : public Publisher {
 public:
  void Publish(std::span<const OutgoingMessage> messages, absl::Time,
               std::span<absl::Status> outcomes) override {
    for (std::size_t i = 0; i < messages.size(); ++i) {
      outcomes[i] = absl::OkStatus();
      for (const OwnedHeader& header : messages[i].headers) {
        if (header.name == "once-id") ++letters_[header.value.value_or("")];
      }
    }
  }
  const std::map<std::string, int>& letters() const { return letters_; }

 private:
  std::map<std::string, int> letters_;
};

Consumption::Consumption(const ConsumedStore& kind, std::string path, const Load& load,
                         HandlerKind handler)
    : kind_(kind),
      path_(std::move(path)),
      load_(load),
      handler_(handler),
      log_(MakeLog(load)),
      letter_box_(std::make_shared<LetterBox>()) {}

std::string Consumption::ConsumeAll(absl::FunctionRef<void(int step)> after_step) {
  std::string wrong = "the store does not open";
  for (int step = 0; step < kStepsMax; ++step) {
    after_step(step);
    if (consumer_ == nullptr && !Start(wrong)) continue;
    if (const auto stepped = consumer_->Step(); !stepped.ok()) {
      return "the consumer gives up: " + stepped.status().ToString();
    }
    clock_->Advance(absl::Milliseconds(200));
    if (IsSettled()) return "";
  }
  if (consumer_ == nullptr) return wrong;
  return absl::StrCat("it does not settle everything: ", Complaint());
}

std::string Consumption::Judge() {
  if (handler_ == HandlerKind::kTransactional) {
    if (store_ == nullptr) return "the store was never open";
    auto effects = kind_.ReadEffects(path_, *store_);
    if (!effects.ok()) return "the effects cannot be read: " + effects.status().ToString();
    effects_ = *std::move(effects);
  }
  CountWrong();
  if (consumer_ != nullptr && !consumer_->stopped_partitions().empty()) {
    return "a partition is stopped: " + Complaint();
  }
  for (int i = 0; i < load_.messages; ++i) {
    const std::string id = absl::StrCat("id-", i);
    const int effects = effects_.contains(id) ? effects_.at(id) : 0;
    const bool has_letter = letter_box_->letters().contains(id);
    if (effects != (load_.IsRejected(i) ? 0 : 1)) {
      return absl::StrCat(id, " has ", effects, " effects");
    }
    if (has_letter != load_.IsRejected(i)) {
      return absl::StrCat(id, has_letter ? " has a dead letter" : " has no dead letter");
    }
  }
  return "";
}

bool Consumption::Start(std::string& wrong) {
  auto store = kind_.Open(path_, [clock = clock_] { return clock->Now(); });
  if (!store.ok()) {
    wrong = "the store does not open: " + store.status().ToString();
    return false;
  }
  store_ = *std::move(store);
  absl::StatusOr<std::unique_ptr<Consumer>> consumer =
      handler_ == HandlerKind::kPlain
          ? Consumer::Create(Options(), PlainHandlerFunction([this](const Message& message) {
                               return HandlePlainly(message);
                             }))
          : Consumer::Create(Options(),
                             TransactionalHandlerFunction(
                                 [this](const Message& message, Transaction& transaction) {
                                   return HandleInTransaction(message, transaction);
                                 }));
  if (!consumer.ok()) wrong = consumer.status().ToString();
  if (consumer.ok()) consumer_ = *std::move(consumer);
  return consumer_ != nullptr;
}

ConsumerOptions Consumption::Options() {
  return {
      .source = std::make_unique<ScriptedSource>(log_),
      .store = store_,
      .id = HeaderId("id"),
      .retry = {.max_attempts = 3, .backoff = {.initial = absl::Milliseconds(100), .jitter = 0}},
      .dead_letters = {.publisher = letter_box_},
      .limits = {.batch_messages_max = 8},
      .log = NoLog(),
      .executor = clock_,
      .random = std::make_shared<MiddleRandom>()};
}

// What to do instead of booking; nullopt: book.
std::optional<Outcome> Consumption::Instead(const Message& message) const {
  const int number = NumberOf(message);
  if (load_.IsRejected(number)) return Reject("rejected");
  if (load_.FailsOnce(number) && message.attempt() == 1) return Retry("fails once");
  return std::nullopt;
}

Outcome Consumption::HandleInTransaction(const Message& message, Transaction& transaction) {
  if (const auto instead = Instead(message)) return *instead;
  return kind_.Book(transaction, std::string(message.id()), message.value().value_or(""));
}

Outcome Consumption::HandlePlainly(const Message& message) {
  if (const auto instead = Instead(message)) return *instead;
  if (++effects_[std::string(message.id())] > 1 && message.maybe_repeated()) {
    --effects_[std::string(message.id())];
    ++repeated_;
  }
  return Done();
}

void Consumption::CountWrong() {
  for (int i = 0; i < load_.messages; ++i) {
    const std::string id = absl::StrCat("id-", i);
    const int effects = effects_.contains(id) ? effects_.at(id) : 0;
    const int wanted = load_.IsRejected(i) ? 0 : 1;
    const bool has_outcome = wanted == 1 ? effects > 0 : letter_box_->letters().contains(id);
    lost_ += has_outcome ? 0 : 1;
    duplicate_effects_ += std::max(0, effects - wanted);
  }
}

bool Consumption::IsSettled() const {
  for (int i = 0; i < kPartitions; ++i) {
    if (log_->committed(PartitionOf(i)).value_or(0) < EndOf(i)) return false;
  }
  const auto pending = store_->transactions()->outbox().CountPending();
  return pending.ok() && *pending == 0;
}

std::int64_t Consumption::EndOf(int partition) const {
  std::int64_t end = 0;
  for (int i = 0; i < load_.messages; ++i) {
    end += i % kPartitions == partition ? 1 : 0;
    end += load_.ComesAgain(i) && (i + 1) % kPartitions == partition ? 1 : 0;
  }
  return end;
}

std::string Consumption::Complaint() const {
  std::string text;
  for (const StoppedPartition& stopped : consumer_->stopped_partitions()) {
    absl::StrAppend(&text, ToString(stopped.partition), ": ", stopped.reason.ToString(), "; ");
  }
  return text;
}

}  // namespace once::campaign
