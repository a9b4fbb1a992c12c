// TLS: the server's certificate is verified, for its host too, unless the user says otherwise.
// The certificates are made by the openssl command; without it the tests skip.
#include <stdlib.h>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "adapters/redis/tests/claim_words.h"
#include "adapters/redis/tests/redis_cluster.h"
#include "adapters/redis/tests/redis_server.h"
#include "once/redis/store.h"

namespace once::redis {
namespace {

using ::testing::HasSubstr;
using testing::LeaveCompleted;
using testing::MustOpen;
using testing::RedisServer;

class RedisTls : public ::testing::Test {
 protected:
  explicit RedisTls(std::vector<std::string> settings = {}) : server_(std::move(settings)) {}

  void SetUp() override {
    if (!MakeCertificate("server", "IP:127.0.0.1,DNS:localhost") ||
        !MakeCertificate("elsewhere", "DNS:example.com")) {
      GTEST_SKIP() << "the openssl command makes no certificates here";
    }
    Serve("server");
  }

  // Of its own authority: <name>.crt and <name>.key.
  bool MakeCertificate(const std::string& name, const std::string& hosts) {
    const std::string command =
        absl::StrCat("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=", name,
                     " -addext subjectAltName=", hosts, " -keyout ", File(name, ".key"), " -out ",
                     File(name, ".crt"), " 2>/dev/null");
    return system(command.c_str()) == 0;  // NOLINT(cert-env33-c): a test's own words
  }
  std::string File(const std::string& name, const char* ending) const {
    return server_.File(name + ending);
  }
  void Serve(const std::string& name) {
    server_.Ask({"CONFIG", "SET", "tls-cert-file", File(name, ".crt"), "tls-key-file",
                 File(name, ".key"), "tls-ca-cert-file", File(name, ".crt"), "tls-auth-clients",
                 "optional"});
    if (!port_.empty()) return;
    for (int port = 21000 + getpid() % 20000; port_.empty(); ++port) {
      const std::string text = absl::StrCat(port);
      if (!server_.Ask({"CONFIG", "SET", "tls-port", text}).is_error()) port_ = text;
    }
  }
  StoreOptions Options(const std::string& host, const std::string& authority) const {
    StoreOptions options{.url = absl::StrCat("rediss://", host, ":", port_)};
    if (!authority.empty()) options.tls_ca_file = File(authority, ".crt");
    return options;
  }

  RedisServer server_;
  std::string port_;
};

TEST_F(RedisTls, AServerWithAGoodCertificateIsSpokenTo) {
  for (const char* const host : {"127.0.0.1", "localhost"}) {
    const auto store = MustOpen(Options(host, "server"));
    LeaveCompleted(*store, host);
    EXPECT_TRUE(store->claims()->Sync().ok());
  }
}

TEST_F(RedisTls, CallsOfManyRecordsPassWhole) {
  const auto store = MustOpen(Options("127.0.0.1", "server"));
  const std::string result(kClaimResultBytesMax, 'r');
  for (int i = 0; i < 5; ++i) {
    const auto owner = testing::TryClaim(*store, absl::StrCat(i));
    ASSERT_TRUE(owner.ok()) << owner.status();
    EXPECT_TRUE(testing::Complete(*store, *owner, result).ok());
    EXPECT_EQ(testing::TryClaim(*store, absl::StrCat(i))->result.result, result);
  }
}

TEST_F(RedisTls, ACertificateOfAnAuthorityThatNobodyNamedIsRefused) {
  const absl::Status refused = OpenStore(Options("127.0.0.1", "")).status();
  EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
  EXPECT_THAT(refused.ToString(), HasSubstr("tls_ca_file"));
}

TEST_F(RedisTls, ACertificateOfAnotherHostIsRefused) {
  Serve("elsewhere");
  const absl::Status refused = OpenStore(Options("127.0.0.1", "elsewhere")).status();
  EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
  EXPECT_THAT(refused.ToString(), HasSubstr("mismatch"));
}

TEST_F(RedisTls, AnybodyMayAnswerWhereTheUserSaysSo) {
  StoreOptions options = Options("127.0.0.1", "");
  options.is_tls_verified = false;
  EXPECT_TRUE(OpenStore(options).ok());
}

TEST_F(RedisTls, AServerMayAskForACertificateToo) {
  server_.Ask({"CONFIG", "SET", "tls-auth-clients", "yes"});
  StoreOptions options = Options("127.0.0.1", "server");
  options.call_timeout = absl::Seconds(1);
  EXPECT_FALSE(OpenStore(options).ok());
  options.call_timeout = absl::Seconds(10);
  options.tls_certificate_file = File("server", ".crt");
  options.tls_key_file = File("server", ".key");
  const absl::Status opened = OpenStore(options).status();
  EXPECT_TRUE(opened.ok()) << opened;
}

TEST_F(RedisTls, AFileThatIsMissingIsNamed) {
  StoreOptions options = Options("127.0.0.1", "server");
  options.tls_ca_file = "/no/such/file";
  const absl::Status refused = OpenStore(options).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_THAT(refused.ToString(), HasSubstr("/no/such/file"));
}

// A node whose certificate is for its name alone, and not for its number.
class RedisClusterTls : public RedisTls {
 protected:
  RedisClusterTls()
      : RedisTls({"cluster-enabled yes", absl::StrCat("cluster-port ", testing::FindPort()),
                  "cluster-announce-ip 127.0.0.1", "cluster-announce-hostname localhost"}) {}

  void SetUp() override {
    if (!MakeCertificate("named", "DNS:localhost")) {
      GTEST_SKIP() << "the openssl command makes no certificates here";
    }
    Serve("named");
    server_.Ask({"CONFIG", "SET", "tls-cluster", "yes"});
    server_.Ask({"CONFIG", "SET", "cluster-announce-tls-port", port_});
    ASSERT_FALSE(server_.Ask({"CLUSTER", "ADDSLOTSRANGE", "0", "16383"}).is_error());
  }
};

TEST_F(RedisClusterTls, ANodeIsVerifiedByTheNameThatItAnnounces) {
  server_.Ask({"CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname"});
  const auto store = MustOpen(Options("localhost", "named"));
  LeaveCompleted(*store, "id");
  EXPECT_TRUE(store->claims()->Sync().ok());
}

TEST_F(RedisClusterTls, ANodeThatAnnouncesWhatItsCertificateDoesNotSayIsRefused) {
  const absl::Status refused = OpenStore(Options("localhost", "named")).status();
  EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
  EXPECT_THAT(refused.ToString(), HasSubstr("127.0.0.1"));
}

}  // namespace
}  // namespace once::redis
