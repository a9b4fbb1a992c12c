// TLS over a stream, by OpenSSL. The server's certificate is verified, for its host too, unless the
// user says otherwise.
// Thread-safety: a TlsContext is safe for concurrent use; a stream is for one thread at a time.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "adapters/redis/stream.h"

struct ssl_ctx_st;

namespace once::redis {

struct TlsOptions {
  std::string ca_file;  // empty: the system's authorities
  std::string certificate_file;
  std::string key_file;
  bool is_verified = true;
};

class TlsContext {
 public:
  // kInvalidArgument: a file that cannot be read, or is none.
  static absl::StatusOr<std::shared_ptr<TlsContext>> Create(const TlsOptions& options);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // `inner` with TLS spoken over it. kPermissionDenied: the certificate is not one that `host` may
  // have; kUnavailable: anything else.
  absl::StatusOr<std::unique_ptr<Stream>> Secure(std::unique_ptr<Stream> inner,
                                                 const std::string& host, Deadline deadline) const;

 private:
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}

  ssl_ctx_st* const context_;
};

}  // namespace once::redis
