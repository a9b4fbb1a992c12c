// TLS through two buffers in memory: OpenSSL never touches the socket, so that every wait keeps its
// deadline and no write raises SIGPIPE.
#include "adapters/redis/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"

namespace once::redis {
namespace {

// The oldest of this thread's errors, which names the cause; the queue is emptied.
std::string TakeError() {
  const unsigned long error = ERR_get_error();
  ERR_clear_error();
  if (error == 0) return "no reason given";
  std::array<char, 256> text{};
  ERR_error_string_n(error, text.data(), text.size());
  return text.data();
}

bool IsNumericAddress(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> ignored{};
  return inet_pton(AF_INET, host.c_str(), ignored.data()) == 1 ||
         inet_pton(AF_INET6, host.c_str(), ignored.data()) == 1;
}

class TlsStream final : public Stream {
 public:
  // Takes `ssl`, which has no buffers yet.
  TlsStream(SSL* ssl, std::unique_ptr<Stream> inner)
      : ssl_(ssl),
        from_server_(BIO_new(BIO_s_mem())),
        to_server_(BIO_new(BIO_s_mem())),
        inner_(std::move(inner)) {
    SSL_set_bio(ssl_, from_server_, to_server_);  // takes both
    SSL_set_connect_state(ssl_);
  }
  ~TlsStream() override { SSL_free(ssl_); }
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  absl::Status Handshake(Deadline deadline) {
    while (true) {
      const int done = SSL_do_handshake(ssl_);
      const int error = SSL_get_error(ssl_, done);
      if (absl::Status sent = Flush(deadline); !sent.ok()) return sent;
      if (done == 1) return absl::OkStatus();
      if (error != SSL_ERROR_WANT_READ) return HandshakeError();
      absl::StatusOr<std::size_t> size = Fill(deadline);
      if (!size.ok()) return size.status();
      if (*size == 0) return absl::UnavailableError("TLS: the server has closed the connection");
    }
  }

  absl::Status Send(std::string_view bytes, Deadline deadline) override {
    while (!bytes.empty()) {
      const std::size_t part = std::min<std::size_t>(bytes.size(), kPartBytes);
      const int size = SSL_write(ssl_, bytes.data(), static_cast<int>(part));
      if (size <= 0) return absl::UnknownError(absl::StrCat("TLS: sending: ", TakeError()));
      bytes.remove_prefix(static_cast<std::size_t>(size));
      // Of a record that was cut the server hears nothing, but of those before it.
      if (absl::Status sent = Flush(deadline); !sent.ok()) {
        return absl::UnknownError(sent.message());
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::size_t> Receive(std::span<char> into, Deadline deadline) override {
    while (true) {
      const int size = SSL_read(ssl_, into.data(), static_cast<int>(into.size()));
      if (size > 0) return static_cast<std::size_t>(size);
      const int error = SSL_get_error(ssl_, size);
      if (error == SSL_ERROR_ZERO_RETURN) return 0U;
      if (error != SSL_ERROR_WANT_READ) {
        return absl::UnavailableError(absl::StrCat("TLS: receiving: ", TakeError()));
      }
      if (absl::Status sent = Flush(deadline); !sent.ok()) return sent;
      absl::StatusOr<std::size_t> filled = Fill(deadline);
      if (!filled.ok()) return filled.status();
      if (*filled == 0) return 0U;
    }
  }

  // Tickets of a new session may lie there unread, which makes a good connection look used: it is
  // replaced, no more.
  bool IsQuiet() override { return SSL_pending(ssl_) == 0 && inner_->IsQuiet(); }

 private:
  static constexpr std::size_t kPartBytes = 16 * 1024;

  // What OpenSSL has written goes to the server.
  absl::Status Flush(Deadline deadline) {
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(to_server_, &bytes);
    if (size <= 0) return absl::OkStatus();
    absl::Status sent = inner_->Send({bytes, static_cast<std::size_t>(size)}, deadline);
    BIO_reset(to_server_);
    return sent;
  }

  absl::StatusOr<std::size_t> Fill(Deadline deadline) {
    std::array<char, kPartBytes> part{};
    absl::StatusOr<std::size_t> size = inner_->Receive(part, deadline);
    if (size.ok() && *size > 0) {
      BIO_write(from_server_, part.data(), static_cast<int>(*size));
    }
    return size;
  }

  absl::Status HandshakeError() {
    const long verified = SSL_get_verify_result(ssl_);
    const std::string reason = TakeError();
    if (verified == X509_V_OK) return absl::UnavailableError(absl::StrCat("TLS: ", reason));
    return absl::PermissionDeniedError(
        absl::StrCat("TLS: the server's certificate: ", X509_verify_cert_error_string(verified),
                     "; name its authority in tls_ca_file"));
  }

  SSL* const ssl_;
  BIO* const from_server_;
  BIO* const to_server_;
  const std::unique_ptr<Stream> inner_;
};

// kInvalidArgument with what OpenSSL says of `file`.
absl::Status RefuseFile(std::string_view option, const std::string& file) {
  return absl::InvalidArgumentError(absl::StrCat("redis: ", std::string(option), " \"", file,
                                                 "\" cannot be used: ", TakeError()));
}

absl::Status LoadFiles(SSL_CTX* context, const TlsOptions& options) {
  if (options.ca_file.empty()) {
    SSL_CTX_set_default_verify_paths(context);
  } else if (SSL_CTX_load_verify_file(context, options.ca_file.c_str()) != 1) {
    return RefuseFile("tls_ca_file", options.ca_file);
  }
  if (options.certificate_file.empty()) return absl::OkStatus();
  const std::string& key = options.key_file.empty() ? options.certificate_file : options.key_file;
  if (SSL_CTX_use_certificate_chain_file(context, options.certificate_file.c_str()) != 1) {
    return RefuseFile("tls_certificate_file", options.certificate_file);
  }
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1) {
    return RefuseFile("tls_key_file", key);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<TlsContext>> TlsContext::Create(const TlsOptions& options) {
  SSL_CTX* const made = SSL_CTX_new(TLS_client_method());
  if (made == nullptr) return absl::InternalError(absl::StrCat("redis: TLS: ", TakeError()));
  std::shared_ptr<TlsContext> context(new TlsContext(made));
  SSL_CTX_set_min_proto_version(made, TLS1_2_VERSION);
  SSL_CTX_set_options(made, SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_verify(made, options.is_verified ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (absl::Status loaded = LoadFiles(made, options); !loaded.ok()) return loaded;
  return context;
}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

absl::StatusOr<std::unique_ptr<Stream>> TlsContext::Secure(std::unique_ptr<Stream> inner,
                                                           const std::string& host,
                                                           Deadline deadline) const {
  SSL* const ssl = SSL_new(context_);
  if (ssl == nullptr) return absl::UnavailableError(absl::StrCat("TLS: ", TakeError()));
  auto stream = std::make_unique<TlsStream>(ssl, std::move(inner));
  const bool is_named = IsNumericAddress(host)
                            ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1
                            : SSL_set1_host(ssl, host.c_str()) == 1 &&
                                  SSL_set_tlsext_host_name(ssl, host.c_str()) == 1;
  if (!is_named) {
    return absl::UnavailableError(
        absl::StrCat("TLS: the name ", host, " cannot be verified: ", TakeError()));
  }
  if (absl::Status done = stream->Handshake(deadline); !done.ok()) return done;
  return stream;
}

}  // namespace once::redis
