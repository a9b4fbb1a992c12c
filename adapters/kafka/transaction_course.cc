// Beginning, sending, ending; and what to believe when an end is in doubt.
#include "adapters/kafka/transaction_course.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/read_back.h"
#include "once/abseil.h"
#include "once/send_id.h"
#include "once/transaction.h"

namespace once::kafka {
namespace {

// How many ids of failed messages an error names; failed_sends() has more.
constexpr std::size_t kNamedMax = 5;

// What became of the messages of a book that has failures.
absl::Status FailureOf(const TransactionBook& book) {
  std::string ids;
  bool is_permanent = false;
  for (std::size_t i = 0; i < book.failures.size(); ++i) {
    const FailedSend& failed = book.failures[i];
    if (absl::IsInvalidArgument(failed.status)) is_permanent = true;
    if (i < kNamedMax) absl::StrAppend(&ids, i == 0 ? "" : ", ", failed.id);
  }
  if (book.failed > kNamedMax) absl::StrAppend(&ids, ", …");
  const std::string text = absl::StrCat(book.failed, " of its messages could not be stored (", ids,
                                        "); the first: ", book.failures.front().status.message());
  return is_permanent ? absl::InvalidArgumentError(text) : absl::AbortedError(text);
}

}  // namespace

bool TransactionCourse::is_expired() const {
  // One clock may be set back, the other one stands still while the machine sleeps.
  const absl::Duration age =
      std::max(absl::Now() - begun_at_,
               absl::FromChrono(std::chrono::steady_clock::now() - begun_at_steady_));
  return age >= options_.times.transaction_timeout;
}

const std::vector<FailedSend>& TransactionCourse::failed_sends() const {
  static const auto& kNone = *new std::vector<FailedSend>();
  return client_ == nullptr ? kNone : client_->book().failures;
}

absl::Status TransactionCourse::Ready(absl::Time deadline) {
  if (!fenced_.ok()) return fenced_;
  if (client_ == nullptr) {
    auto client = TransactionClient::Open(options_);
    if (!client.ok()) return client.status();
    client_ = *std::move(client);
    is_initialised_ = false;
  }
  if (is_initialised_) return absl::OkStatus();
  const std::optional<TransactionError> error = client_->Init(deadline);
  if (!error) {
    is_initialised_ = true;
    return absl::OkStatus();
  }
  // One that timed out goes on in the background, and with the next call.
  if (!IsWorthRepeating(*error)) GiveUpClient(*error);
  if (!fenced_.ok()) return fenced_;
  return InitStatus(*error);
}

absl::Status TransactionCourse::Begin() {
  if (is_open_) {
    return absl::FailedPreconditionError(
        "kafka: a transaction is open; commit it, abort it or drop it before the next one");
  }
  if (absl::Status ready = Ready(absl::Now() + options_.times.init_timeout); !ready.ok()) {
    return ready;
  }
  if (const std::optional<TransactionError> error = client_->Begin()) {
    GiveUpClient(*error);
    return absl::UnavailableError(absl::StrCat("kafka: beginning a transaction: ", error->text));
  }
  is_open_ = true;
  begun_at_ = absl::Now();
  begun_at_steady_ = std::chrono::steady_clock::now();
  doomed_ = absl::OkStatus();
  last_failed_.clear();
  return absl::OkStatus();
}

absl::Status TransactionCourse::Doom(absl::Status reason) {
  if (doomed_.ok()) doomed_ = reason;
  return reason;
}

void TransactionCourse::Look() {
  client_->Serve();
  if (!doomed_.ok()) return;
  if (client_->book().failed > 0) {
    doomed_ = FailureOf(client_->book());
  } else if (is_expired()) {
    doomed_ = absl::AbortedError(
        absl::StrCat("it has been open for longer than .times.transaction_timeout, ",
                     absl::FormatDuration(options_.times.transaction_timeout)));
  } else if (client_->fatal_code() != RD_KAFKA_RESP_ERR_NO_ERROR) {
    doomed_ = absl::AbortedError(client_->FatalStatus().message());
  }
}

absl::Status TransactionCourse::CheckMessage(OutgoingMessage& message, std::size_t& id_header) {
  absl::Status status = IdentifyOutgoing(message, options_.ids, *options_.random, id_header);
  if (status.ok()) status = ValidateOutgoing(message);
  if (!status.ok()) return status;
  const TransactionBook& book = client_->book();
  if (book.sent < options_.limits.messages_max &&
      SizeBytes(message) <= options_.limits.bytes_max - book.bytes) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      "kafka: the transaction has ", book.sent, " messages of ", book.bytes,
      " bytes, and another one is beyond .limits; use more transactions, or raise them"));
}

absl::StatusOr<std::string> TransactionCourse::Send(OutgoingMessage message) {
  Look();
  if (!doomed_.ok()) return AbortedBecause(doomed_);
  std::size_t id_header = 0;
  if (absl::Status valid = CheckMessage(message, id_header); !valid.ok()) return Doom(valid);
  std::string id = *message.headers[id_header].value;
  const absl::Status sent = client_->Send(message, id, absl::Now() + options_.times.send_timeout);
  if (sent.ok()) return id;
  // The client refuses everything once the transaction has failed, whatever this message is.
  Look();
  if (!doomed_.ok()) return AbortedBecause(doomed_);
  return Doom(sent);
}

absl::Status TransactionCourse::Commit(absl::Time deadline) {
  Look();
  if (!doomed_.ok()) return EndAborted(doomed_);
  const std::optional<TransactionError> error = client_->Commit(deadline);
  if (!error) {
    Close();
    return absl::OkStatus();
  }
  const TransactionBook& book = client_->book();
  if (book.failed > 0) return EndAborted(FailureOf(book));
  if (!book.is_delivered()) return EndAborted(absl::AbortedError(error->text));
  // From here on a commit may have been asked for. That the client can abort now proves nothing: it
  // may do so by a new epoch, which the brokers give also after they have committed.
  return Resolve(*error);
}

absl::Status TransactionCourse::Abort() { return EndAborted(absl::OkStatus()); }

absl::Status TransactionCourse::EndAborted(const absl::Status& reason) {
  const std::optional<TransactionError> error =
      client_->Abort(absl::Now() + options_.times.abort_timeout);
  // A commit may fail before the report is there of the message that was its reason; an abort takes
  // all reports.
  const bool has_failures = client_->book().failed > 0;
  const bool is_named = reason.ok() || absl::IsInvalidArgument(reason);
  const absl::Status why = has_failures && !is_named ? FailureOf(client_->book()) : reason;
  // Records may wait for a while for their end; that it is an abort is sure, since nobody has asked
  // for a commit.
  if (error) GiveUpClient(*error);
  Close();
  // librdkafka 2.0.2 goes on counting behind a batch that the broker has refused, which then
  // refuses the next transaction too.
  if (!error && has_failures) DropClient();
  if (!fenced_.ok()) return fenced_;
  if (!why.ok()) return AbortedBecause(why);
  if (!error) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("kafka: aborting a transaction: ", error->text));
}

absl::Status TransactionCourse::Resolve(const TransactionError& error) {
  const Witness witness = client_->book().witness.value();
  client_->Log(LogLevel::kWarning, "commit_in_doubt", error.text);
  GiveUpClient(error);
  Close();
  if (options_.times.resolve_timeout > absl::ZeroDuration()) {
    const absl::Time deadline = absl::Now() + options_.times.resolve_timeout;
    // A new client makes the brokers end it now; where that fails, they may have done so already.
    if (absl::Status ready = Ready(deadline); !ready.ok() && client_ != nullptr) {
      client_->Log(LogLevel::kWarning, "producer_not_replaced", ToStd(ready.message()));
    }
    return AnswerOf(witness, error, deadline);
  }
  return absl::UnknownError(
      absl::StrCat("kafka: the transaction may be committed or not: ", error.text));
}

absl::Status TransactionCourse::AnswerOf(const Witness& witness, const TransactionError& error,
                                         absl::Time deadline) {
  const Visibility seen = ReadBack({.brokers = options_.brokers,
                                    .properties = options_.properties,
                                    .log = options_.log,
                                    .witness = witness,
                                    .id_header = options_.ids.header},
                                   deadline);
  if (seen == Visibility::kVisible) return absl::OkStatus();
  if (seen == Visibility::kInvisible) {
    return fenced_.ok() ? AbortedBecause(absl::AbortedError(error.text)) : fenced_;
  }
  return absl::UnknownError(
      absl::StrCat("kafka: the transaction may be committed or not, and its message ", witness.id,
                   " in ", witness.topic, " could not be read back: ", error.text));
}

void TransactionCourse::GiveUpClient(const TransactionError& error) {
  if (is_open_) last_failed_ = client_->book().failures;
  const rd_kafka_resp_err_t fatal = client_->fatal_code();
  const bool is_fenced = IsProducerFenced(error.code) || IsProducerFenced(fatal);
  // The brokers end a transaction that is too old as they end that of a zombie.
  if (is_fenced && !(is_open_ && is_expired())) {
    fenced_ = absl::FailedPreconditionError(absl::StrCat(
        "kafka: another instance uses the transactional id \"", options_.transactional_id,
        "\", and this one is fenced: give every running instance an id of its own (", error.text,
        ")"));
    client_->Log(LogLevel::kError, "producer_fenced", ToStd(fenced_.message()));
  } else {
    client_->Log(LogLevel::kWarning, "producer_replaced",
                 absl::StrCat("a new producer takes over: ", error.text));
  }
  DropClient();
}

void TransactionCourse::DropClient() {
  client_.reset();
  is_initialised_ = false;
}

void TransactionCourse::Close() {
  if (client_ != nullptr) last_failed_ = client_->book().failures;
  is_open_ = false;
}

}  // namespace once::kafka
